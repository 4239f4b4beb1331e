"""RootKeyBinding: under whose root key an instance is protected."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from openscale_byok.resources import crn
from openscale_byok.resources.base import (
    READY,
    Credentials,
    InstanceRef,
    Model,
    Resource,
    Status,
    immutable,
    rule,
    rules,
)

Role = Literal["InForce", "Standby", "Releasing"]
_IMMUTABLE = "may not be changed; create a second RootKeyBinding and delete this one: everything moves straight over"


class RootKey(Model):
    """A customer's root key in Key Protect."""

    crn: Annotated[
        str,
        Field(
            description="crn of the root key (not of its instance). Immutable.",
            min_length=1,
            max_length=crn.MAX_CHARACTERS,
            json_schema_extra=rules(
                rule(f"!self.matches('{crn.INSTANCE_PATTERN}')", crn.NOT_AN_INSTANCE),
                rule(
                    f"self.matches('{crn.INSTANCE_PATTERN}') || self.matches('{crn.ROOT_KEY_PATTERN}')",
                    crn.NOT_A_ROOT_KEY,
                ),
            ),
        ),
    ]
    endpoint: Annotated[
        str | None,
        Field(
            description="endpoint of Key Protect, where it does not follow from the CRN (Dedicated, private "
            "network). Must be on the operator's allow-list.",
            min_length=1,
            max_length=512,
            pattern=r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$",
        ),
    ] = None


class BindingSpec(Model):
    """Which root key, for which instance, with which credentials."""

    instance_ref: Annotated[
        InstanceRef,
        Field(
            description="instanceRef is the instance to protect, in this namespace. Immutable.",
            json_schema_extra=immutable(f"instanceRef {_IMMUTABLE}"),
        ),
    ]
    root_key: Annotated[
        RootKey,
        Field(
            description="rootKey that wraps the instance's data keys. Immutable.",
            json_schema_extra=immutable(f"rootKey {_IMMUTABLE}"),
        ),
    ]
    credentials: Annotated[
        Credentials | None, Field(description="credentials for IAM; the instance's own where none are named.")
    ] = None
    data_key_cache_seconds: Annotated[
        int,
        Field(
            description="dataKeyCacheSeconds is the longest time that a data key is used after its last "
            "successful unwrap while Key Protect cannot be reached (default 3600, at most 14400).",
            ge=60,
            le=14_400,
        ),
    ] = 3_600


class BindingStatus(Status):
    """What Key Protect says of the root key, and what the binding does."""

    key_state: Annotated[
        str | None,
        Field(
            description="keyState in Key Protect: Active, Suspended, Deactivated, Destroyed or Unknown.",
            max_length=32,
        ),
    ] = None
    key_version: Annotated[
        str | None, Field(description="keyVersion is the root key's newest version.", max_length=128)
    ] = None
    role: Annotated[
        Role | None,
        Field(description="role: InForce, Standby (waits for its turn) or Releasing (being let go)."),
    ] = None
    stuck_digest: Annotated[
        str | None,
        Field(
            description="stuckDigest stands for the list of stuck secrets that alone keep a deleted binding. The "
            "annotation openscale.byok.dev/abandon with this value lets it go; envelopes and wrapped keys stay.",
            max_length=16,
        ),
    ] = None


class RootKeyBinding(Resource):
    """RootKeyBinding puts an OpenScaleInstance under a customer's root key."""

    KIND: ClassVar[str] = "RootKeyBinding"
    PLURAL: ClassVar[str] = "rootkeybindings"
    SHORT: ClassVar[str] = "rkb"
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.instanceRef.name", ".spec.rootKey.crn")
    COLUMNS: ClassVar[tuple[tuple[str, str, int, str], ...]] = (
        ("Instance", ".spec.instanceRef.name", 0, "The instance that it protects."),
        ("Role", ".status.role", 0, "InForce, Standby or Releasing."),
        ("Key", ".status.keyState", 0, "The root key's state in Key Protect."),
        ("Ready", f"{READY}.status", 0, "Whether it does its role."),
        ("Reason", f"{READY}.reason", 0, "Why it does, or does not."),
        ("Age", ".metadata.creationTimestamp", 0, "Time since its creation."),
        ("Message", f"{READY}.message", 1, "What was found and what helps."),
        ("Version", ".status.keyVersion", 1, "The root key's newest version."),
        ("Root Key", ".spec.rootKey.crn", 1, "The root key."),
    )

    spec: Annotated[BindingSpec, Field(description="spec says which root key, for which instance.")]
    status: Annotated[BindingStatus, Field(description="status is what the operator found.")] = BindingStatus()

    @property
    def root_key(self) -> str:
        """The CRN."""
        return self.spec.root_key.crn

    @property
    def instance_key(self) -> tuple[str, str]:
        """Namespace and name of the instance."""
        return self.metadata.namespace, self.spec.instance_ref.name
