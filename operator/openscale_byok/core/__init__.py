"""Every rule, no I/O: what was observed in, what to do and what to say out.

Left out here, and done by the engine: reading and writing, the clock, randomness, retries.
"""
