"""Errors by what the caller should do: `Refused`: a person must act; `Unavailable`: try again.

Messages are ours: no secret, token or HTTP body ever goes into one, so that each may be shown in a
condition as it is.
"""

from openscale_byok.reasons import Reason


class ByokError(Exception):
    """What went wrong, as a reason and a sentence that may be shown to anyone.

    Args:
        reason: the row of the table of reasons.
        message: names the field and the cure; holds no secret. It is the same each time that the same is found:
            conditions show it, and one that differs would be written anew at every look.
        trace: what the other side's support asks for, as a correlation id. Only logs show it.
    """

    def __init__(self, reason: Reason, message: str, *, trace: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.trace = trace

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason.value}: {self.message})"


class Refused(ByokError):
    """A clear no. Trying again changes nothing until a person acts."""


class Contradicted(Refused):
    """What somebody asked for names something that is not so. It says nothing of what was handed out before."""


class Unavailable(ByokError):
    """No answer, or one that says "later". The same call may succeed by itself.

    Args:
        retry_after: seconds that the other side asked us to wait, where it did.
        trace: as above.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None, trace: str = "") -> None:
        super().__init__(reason, message, trace=trace)
        self.retry_after = retry_after


class CredentialsUnavailable(Unavailable):
    """There is nothing to ask the other side with: what holds the credentials is missing, or may not be read.

    It says nothing of the other side, and somebody in the cluster can bring it about: so it is no outage, during which
    what was learned before serves on.
    """


class Changed(Unavailable):
    """The object is not the one that was read (409): look again before deciding anything."""


class Missing(ByokError):
    """There is no such object (404)."""
