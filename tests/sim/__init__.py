"""A world in memory for the real engine: the ports, implemented faithfully, and faults on demand.

Nothing here is a mock. The cluster compares and swaps, merges patches, keeps finalizers; root keys wrap with
real AES-GCM; time stands still until it is told to move. Whatever the engine asks of a port waits at a *gate*
until the test lets it through, so that a crash or another writer can come between any two calls.

=============  ==========================================================================
`loop`         an event loop with a clock of its own
`gate`         one process: its pending calls, its crash, answers and requests that get lost
`cluster`      the API server's objects and Secrets, and their watch events
`root_keys`    Key Protect's root keys: rotated, disabled, destroyed, unreachable
`operator`     the real engine, started in a process behind gates
`world`        all of it, with what a user may do, and what must come of it
`checks`       what must hold after every single change
=============  ==========================================================================
"""
