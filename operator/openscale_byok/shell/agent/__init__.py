"""`openscale-byok agent`: a data mart's credentials as a file, for workloads that read one.

It asks the gateway, writes what it is given, and takes the file away when it may not be there any more. Pure rules:
`credentials`, `formats`, `answers`, `targets`. The world: `asking`, `files`, `health`. Both together: `keeper`, `run`.
"""
