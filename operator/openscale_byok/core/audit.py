"""What an audit line holds: who did what to what, from where, with which outcome. Never a secret."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Action(StrEnum):
    """What is audited, as CADF names things: the kind of thing, then the verb."""

    CREDENTIALS_READ = "datamart.credentials/read"
    PASSWORD_GIVEN = "datamart.password/set"
    DATA_MART_CREATED = "datamart/create"
    DATA_MART_CHANGED = "datamart/update"
    DATA_MART_DELETED = "datamart/delete"
    BINDING_CREATED = "rootkeybinding/create"
    BINDING_DELETED = "rootkeybinding/delete"
    BINDING_RELEASED = "rootkeybinding/release"
    ROOT_KEY_CHANGED = "openscaleinstance.rootkey/update"
    SOURCE_CONSUMED = "secret.handover/delete"
    SHREDDED = "openscaleinstance/shred"
    ONLY_COPY_DELETED = "datamart.password/delete"
    GLOBAL_KEY_ROTATED = "globalkey/rotate"
    GLOBAL_KEY_EXPORTED = "globalkey/export"
    GLOBAL_KEY_IMPORTED = "globalkey/import"
    GLOBAL_KEY_VERIFIED = "globalkey/verify"
    GLOBAL_KEY_REMOVED = "globalkey/remove"
    CHAIN_BEGUN = "audit/begin"
    CHAIN_RESUMED = "audit/resume"
    REQUEST = "gateway/request"
    """A request that was refused before it was known what it was about."""


UNKNOWN = "unknown"
"""Who did what was only seen: the API server's own audit log names them."""
OURSELVES = "openscale-byok"
"""Who does what nobody in particular asked for: the operator, by its rules."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit, before it is written."""

    action: Action
    outcome: Literal["pending", "success", "failure", "denied"]
    """Pending: about to be done; a later line of the same kind says what came of it."""
    who: str
    """A user name; the operator's own where nobody asked it."""
    by: str = ""
    """Who vouches for that: kubernetes, iam; nothing for ourselves."""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    belongs_to: str = ""
    """The object that it was done for, as ``DataMart/orders``."""
    source: str = ""
    """The address that the request came from."""
    reason: str = ""
    root_key: str = ""
    data_key: str = ""
    trace: str = ""
    """Key Protect's correlation id."""
    transaction: str = ""
    """The caller's own id of the request (``x-global-transaction-id``)."""
    count: int = 1
    """How many requests the line stands for; more than one only for refusals."""
