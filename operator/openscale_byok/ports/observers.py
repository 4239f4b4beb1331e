"""Who listens to what the engine and the adapters do: to log it, and to count it. No listener decides anything."""

from dataclasses import dataclass
from typing import Literal, Protocol

from openscale_byok.reasons import Reason


@dataclass(frozen=True, slots=True)
class KeySeen:
    """What one look at a root key says of one binding."""

    namespace: str
    binding: str
    """Its name."""
    uid: str
    root_key: str
    state: str
    """As Key Protect names it; `Unknown` where it never answered."""
    reason: Reason
    """That of the condition `KeyUsable`."""
    usable: Literal["True", "False", "Unknown"]
    until: str
    """The date that matters in this state, as Key Protect prints it: expiry, or the end of restore; else nothing."""
    changed: bool
    """Whether the look before it said something else."""
    trace: str
    """What Key Protect's support asks for, where it refused."""


class KeyObserver(Protocol):
    """Listens to what becomes of root keys: for logs, and for whatever is counted later.

    It is called in the middle of the engine's work: it returns at once, and is told no secret. What it raises is
    lost: a listener's mistake must not end a poll.
    How many different bindings it hears of is for it to bound.
    """

    def key_seen(self, seen: KeySeen) -> None:
        """A root key was looked at, or could not be. Told at every look, for each binding that the look serves."""
        ...

    def data_keys_dropped(self, holder: str, number: int) -> None:
        """Unwrapped data keys of a holder (a binding's uid) were forgotten before their time.

        Its root key said no, or its credentials are others, or it was let go.
        """
        ...


Outcome = Literal["success", "refused", "unavailable"]
"""A yes, a no, no answer."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call to another system that has ended, one way or the other."""

    system: Literal["key-protect", "iam", "kubernetes"]
    operation: str
    """One of few words: of Key Protect the action, of Kubernetes HTTP's method."""
    code: int
    """The status of HTTP; 0: no answer."""
    outcome: Outcome
    seconds: float


class CallObserver(Protocol):
    """Listens to what is asked of other systems, to count it. It returns at once, and raises nothing."""

    def called(self, call: Called) -> None:
        """A call has ended. It may be told by several threads."""
        ...


class WorkObserver(Protocol):
    """Listens to the engine's work, to count it. It returns at once, and raises nothing."""

    def pass_ended(self, outcome: Literal["success", "requeue", "error"], seconds: float) -> None:
        """A pass over an instance has ended: nothing is left to do now, there is more to do at once, or it failed."""
        ...

    def step_failed(self, step: str, reason: Reason) -> None:
        """A step of a plan failed; *step* is its kind, and names no object."""
        ...

    def sealed(self, how: Literal["seal", "re-encrypt", "recover"]) -> None:
        """An envelope was stored."""
        ...
