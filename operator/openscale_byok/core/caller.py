"""Who asks, and for what: the words of Kubernetes' own TokenReview and SubjectAccessReview."""

from dataclasses import dataclass, field
from typing import Literal

from openscale_byok.errors import Refused
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import GROUP

CREDENTIALS = "datamartcredentials"
"""The virtual resource whose verb `get` lets somebody read a data mart's password."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as an authorizer knows them."""

    user: str
    """A Kubernetes user name, or ``iam:<iam_id>``."""
    by: Literal["kubernetes", "iam"]
    """Who vouches for it."""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    expires: float | None = field(default=None, compare=False)
    """When the token that said so ends (seconds since the epoch), where it says. No part of who somebody is."""


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that somebody wants to do."""

    verb: str
    resource: str
    namespace: str = ""
    """Empty: in every namespace."""
    name: str = ""
    """Empty: any."""
    group: str = GROUP
    about: str = ""
    """The service instance id that a request named. No part of the question: but what was answered about one id is not
    remembered for another one, else how long an answer takes would say which of them are in one namespace."""

    def __str__(self) -> str:
        where = f"{self.resource}/{self.name}" if self.name else self.resource
        return f"{self.verb} {where}{f' in namespace {self.namespace}' if self.namespace else ''}"


def not_authenticated(why: str) -> Refused:
    """The one refusal of every bad token: it tells its caller nothing. *why* is for the log, and quotes no token."""
    return Refused(Reason.NOT_AUTHENTICATED, TABLE[Reason.NOT_AUTHENTICATED].meaning, trace=why)
