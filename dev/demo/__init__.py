"""The demo: a story in steps, each of which is counted and proven."""
