"""IBM Key Protect v2 and IBM Cloud IAM on your own machine, over real HTTP.

Real AES-GCM, real RS256 tokens, the state rules and the time rules of the real thing (on a clock that
can be set), faults to order and exact counts of calls. `python -m key_protect_emulator --help` starts it
for any language; `key_protect_emulator.control.Emulator` starts and steers it from Python.
"""

__version__ = "0.1.0"
