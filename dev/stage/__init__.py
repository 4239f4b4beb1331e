"""What the demo, `make up`, the tests and the benchmarks stand on: cluster, emulator, PostgreSQL, operator."""
