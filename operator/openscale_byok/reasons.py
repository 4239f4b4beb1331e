"""The one table of reasons: what conditions, events, logs and the docs call each finding.

A reason is CamelCase and final once released. Its row says how it looks from outside: whether a person
must act (``Stalled``), and the type of the event that announces it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Reason(StrEnum):
    """Why an object is in the condition that it is in."""

    # Well.
    SEALED = "Sealed"
    CURRENT = "Current"
    IN_FORCE = "InForce"
    STANDBY = "Standby"
    KEY_ACTIVE = "KeyActive"
    SOURCE_KEPT = "SourceKept"
    SOURCE_GONE = "SourceGone"
    HANDED_OVER = "HandedOver"
    GIVEN = "Given"
    NOTHING_TO_PROTECT = "NothingToProtect"

    # Under way, or waiting for something that may come by itself.
    SUSPENDED = "Suspended"
    INSTANCE_NOT_FOUND = "InstanceNotFound"
    CHECKING_KEY = "CheckingKey"
    WAITING_FOR_ROOT_KEY = "WaitingForRootKey"
    NO_ROOT_KEY = "NoRootKey"
    SEALING = "Sealing"
    CHECKING_SEAL = "CheckingSeal"
    RE_ENCRYPTING = "ReEncrypting"
    RELEASING = "Releasing"
    STILL_NEEDED = "StillNeeded"
    RELEASED = "Released"
    ABANDONED = "Abandoned"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_FORBIDDEN = "SecretForbidden"
    CREDENTIALS_NOT_FOUND = "CredentialsNotFound"
    KEY_EXPIRING = "KeyExpiring"
    KEY_PROTECT_UNAVAILABLE = "KeyProtectUnavailable"
    IAM_UNAVAILABLE = "IAMUnavailable"
    CLUSTER_UNAVAILABLE = "ClusterUnavailable"
    CHANGED_MEANWHILE = "ChangedMeanwhile"
    DELETING = "Deleting"
    DATA_MARTS_REMAIN = "DataMartsRemain"
    ONLY_COPY_DELETED = "OnlyCopyDeleted"
    SHREDDING = "Shredding"
    SHREDDED = "Shredded"
    PASSWORD_NOT_GIVEN = "PasswordNotGiven"
    AUDIT_UNAVAILABLE = "AuditUnavailable"
    TOO_MANY_REQUESTS = "TooManyRequests"

    # Key events.
    DATA_KEY_MINTED = "DataKeyMinted"
    DATA_KEY_RETIRED = "DataKeyRetired"
    DATA_KEY_REWRAPPED = "DataKeyRewrapped"
    PROPERTIES_REBUILT = "PropertiesRebuilt"
    ROOT_KEY_CHANGED = "RootKeyChanged"

    # A person must act: the source.
    SECRET_KEY_MISSING = "SecretKeyMissing"
    PASSWORD_EMPTY = "PasswordEmpty"
    PASSWORD_TOO_LONG = "PasswordTooLong"
    PASSWORD_NOT_TEXT = "PasswordNotText"
    HANDOVER_NOT_EXCLUSIVE = "HandoverNotExclusive"

    # A person must act: the root key.
    CREDENTIALS_MISSING = "CredentialsMissing"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    NOT_AUTHORIZED = "NotAuthorized"
    KEY_NOT_FOUND = "KeyNotFound"
    KEY_NOT_ROOT = "KeyNotRoot"
    CRN_MISMATCH = "CRNMismatch"
    KEY_DISABLED = "KeyDisabled"
    KEY_EXPIRED = "KeyExpired"
    KEY_DESTROYED = "KeyDestroyed"
    ENDPOINT_NOT_ALLOWED = "EndpointNotAllowed"
    ROOT_KEY_NOT_ALLOWED = "RootKeyNotAllowed"
    TRUSTED_PROFILE_OFF = "TrustedProfileOff"
    NO_BINDING = "NoBinding"
    GLOBAL_KEY_VERSION_MISSING = "GlobalKeyVersionMissing"

    # A person must act: what is stored.
    CONFLICT = "Conflict"
    INSTANCE_NOT_ALLOWED = "InstanceNotAllowed"
    TAMPERED = "Tampered"
    CONTEXT_MISMATCH = "ContextMismatch"
    ENDPOINT_CHANGED = "EndpointChanged"
    UNKNOWN_DATA_KEY = "UnknownDataKey"
    NEWER_FORMAT = "NewerFormat"
    TOO_MANY_DATA_KEYS = "TooManyDataKeys"
    TOO_MANY_BINDINGS = "TooManyBindings"
    STUCK = "Stuck"
    INVALID_OBJECT = "InvalidObject"
    CA_BUNDLE_INVALID = "CABundleInvalid"
    CERTIFICATE_INVALID = "CertificateInvalid"

    # A person must act: what was asked of the gateway.
    NOT_AUTHENTICATED = "NotAuthenticated"
    NOT_ALLOWED = "NotAllowed"
    NOT_FOUND = "NotFound"
    NOT_OURS = "NotOurs"
    DELETION_PROTECTED = "DeletionProtected"
    INVALID_REQUEST = "InvalidRequest"


@dataclass(frozen=True, slots=True)
class Row:
    """How a reason looks from outside."""

    event: Literal["Normal", "Warning"]
    stalled: bool
    meaning: str


def _well(meaning: str) -> Row:
    return Row("Normal", stalled=False, meaning=meaning)


def _wait(meaning: str) -> Row:
    return Row("Warning", stalled=False, meaning=meaning)


def _act(meaning: str) -> Row:
    return Row("Warning", stalled=True, meaning=meaning)


TABLE: dict[Reason, Row] = {
    Reason.SEALED: _well("the password is sealed under the active data key"),
    Reason.CURRENT: _well("every secret is sealed under the active data key"),
    Reason.IN_FORCE: _well("the instance's data key is wrapped by this root key"),
    Reason.STANDBY: _well("usable, and waiting for the binding in force to be deleted"),
    Reason.KEY_ACTIVE: _well("Key Protect says that the root key is active"),
    Reason.SOURCE_KEPT: _well("the source Secret still holds a plain copy, which no root key can revoke"),
    Reason.SOURCE_GONE: _well("the source Secret was deleted by its owner after its password was sealed"),
    Reason.HANDED_OVER: _well("the source was deleted once its password was safely sealed"),
    Reason.GIVEN: _well("the password was given through the gateway: no Secret holds it"),
    Reason.NOTHING_TO_PROTECT: _well("no secret and no binding yet"),
    Reason.SUSPENDED: _well("spec.suspend is true: nothing is written"),
    Reason.INSTANCE_NOT_FOUND: _wait("the instance that is referred to does not exist (yet)"),
    Reason.CHECKING_KEY: _well("Key Protect has not been asked yet"),
    Reason.WAITING_FOR_ROOT_KEY: _well("a binding exists whose root key is not usable yet"),
    Reason.SEALING: _well("about to be sealed"),
    Reason.CHECKING_SEAL: _well("sealed; the data key is being checked once more"),
    Reason.RE_ENCRYPTING: _well("secrets are moving to the active data key"),
    Reason.RELEASING: _well("secrets are moving away from this root key"),
    Reason.STILL_NEEDED: _wait("deleted, but its root key is still needed"),
    Reason.RELEASED: _well("nothing needs this root key any more"),
    Reason.ABANDONED: _wait("let go by its owner's word, although stuck secrets still need its root key"),
    Reason.SECRET_NOT_FOUND: _wait("the Secret that is referred to does not exist (yet)"),
    Reason.CREDENTIALS_NOT_FOUND: _wait("the ServiceAccount that is referred to does not exist (yet)"),
    Reason.SECRET_FORBIDDEN: _wait("the operator may not read the Secret in this namespace"),
    Reason.KEY_EXPIRING: _wait("the root key expires within 30 days"),
    Reason.KEY_PROTECT_UNAVAILABLE: _wait("Key Protect cannot be reached"),
    Reason.IAM_UNAVAILABLE: _wait("IAM cannot be reached"),
    Reason.CLUSTER_UNAVAILABLE: _wait("the API server cannot be reached"),
    Reason.CHANGED_MEANWHILE: _well("the object changed since it was read"),
    Reason.DELETING: _well("being deleted"),
    Reason.DATA_MARTS_REMAIN: _wait("deleted, but data marts still name this instance"),
    Reason.ONLY_COPY_DELETED: _wait("a data mart was deleted that held the only copy of its password"),
    Reason.SHREDDING: _wait(
        "deleted with spec.deletion.policy Shred: everything sealed is destroyed at the time it says"
    ),
    Reason.SHREDDED: _wait("destroyed with its instance, which was deleted with spec.deletion.policy Shred"),
    Reason.PASSWORD_NOT_GIVEN: _well("no Secret is named, and nobody has given the password through the gateway (yet)"),
    Reason.AUDIT_UNAVAILABLE: _wait("the audit line cannot be written, so nothing that needs one is done"),
    Reason.TOO_MANY_REQUESTS: _wait("this caller asks more often than the gateway allows"),
    Reason.DATA_KEY_MINTED: _well("a new data key was wrapped, proven and recorded"),
    Reason.DATA_KEY_RETIRED: _well("a former data key was removed: nothing names it"),
    Reason.DATA_KEY_REWRAPPED: _well("the data key is now wrapped by the root key's newest version"),
    Reason.PROPERTIES_REBUILT: _wait("the lost properties were rebuilt from the envelopes"),
    Reason.ROOT_KEY_CHANGED: _well("another root key is in force"),
    Reason.SECRET_KEY_MISSING: _act("the Secret has no such key"),
    Reason.PASSWORD_EMPTY: _act("the password is empty"),
    Reason.PASSWORD_TOO_LONG: _act("the password is longer than any database takes"),
    Reason.PASSWORD_NOT_TEXT: _act("the password is not text"),
    Reason.HANDOVER_NOT_EXCLUSIVE: _act("deleting this hand-over Secret would lose more than one password"),
    Reason.CREDENTIALS_MISSING: _act("there are no credentials to ask Key Protect with"),
    Reason.CREDENTIALS_REFUSED: _act("IAM refuses the credentials"),
    Reason.NOT_AUTHORIZED: _act("Key Protect refuses these credentials for this root key"),
    Reason.KEY_NOT_FOUND: _act("Key Protect does not know this root key (or it was purged)"),
    Reason.KEY_NOT_ROOT: _act("this is a standard key, which cannot wrap"),
    Reason.CRN_MISMATCH: _act("Key Protect names another CRN for this root key"),
    Reason.KEY_DISABLED: _act("the root key was disabled"),
    Reason.KEY_EXPIRED: _act("the root key expired: it opens what it sealed, and wraps nothing new"),
    Reason.KEY_DESTROYED: _act("the root key was deleted"),
    Reason.ENDPOINT_NOT_ALLOWED: _act("the endpoint is not on the operator's allow-list"),
    Reason.ROOT_KEY_NOT_ALLOWED: _act("the operator's allow-list does not let this namespace use this root key"),
    Reason.TRUSTED_PROFILE_OFF: _act("trusted profiles are switched off in this operator"),
    Reason.NO_ROOT_KEY: _wait("no root key is bound, and the global key is forbidden here"),
    Reason.NO_BINDING: _act("no binding in this namespace names the root key that wrapped this data key"),
    Reason.GLOBAL_KEY_VERSION_MISSING: _act("a version of the global key that is named here is missing"),
    Reason.CONFLICT: _act("another instance claims the same service instance id"),
    Reason.INSTANCE_NOT_ALLOWED: _act("the operator's owner does not give this service instance id to this namespace"),
    Reason.TAMPERED: _act("the stored envelope or wrapped key does not verify"),
    Reason.CONTEXT_MISMATCH: _act("the stored envelope belongs to another object"),
    Reason.ENDPOINT_CHANGED: _act("the password was given for another endpoint, or for one that had to prove more"),
    Reason.CA_BUNDLE_INVALID: _act("the caBundle cannot be read as certificates"),
    Reason.UNKNOWN_DATA_KEY: _act("the envelope names a data key that is recorded nowhere"),
    Reason.NEWER_FORMAT: _act("written by a newer version of this operator"),
    Reason.TOO_MANY_DATA_KEYS: _act("too many former data keys are still needed"),
    Reason.TOO_MANY_BINDINGS: _act(
        "the instance has more bindings than are looked at, and this is one of the youngest"
    ),
    Reason.STUCK: _act("the data key of this secret cannot be unwrapped"),
    Reason.INVALID_OBJECT: _act("the object does not have the shape that its CRD demands"),
    Reason.CERTIFICATE_INVALID: _act("the gateway's serving certificate, or the authority that makes it, is unusable"),
    Reason.NOT_AUTHENTICATED: _act("the bearer token is missing, expired, or not made for this gateway"),
    Reason.NOT_ALLOWED: _act("the caller has no right to this, or it does not exist"),
    Reason.NOT_FOUND: _act("the caller may know what there is, and this is not"),
    Reason.NOT_OURS: _act("the object was not made by the gateway, which leaves it alone"),
    Reason.DELETION_PROTECTED: _act("the object's owner protected it from deletion"),
    Reason.INVALID_REQUEST: _act("the request does not have the shape that the API demands"),
}
"""One row for each reason; a test holds it complete and the docs equal to it."""
