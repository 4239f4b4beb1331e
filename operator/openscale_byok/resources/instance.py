"""OpenScaleInstance: what a customer protects, and the properties that say how."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from openscale_byok.resources.base import (
    GUID,
    READY,
    Credentials,
    Item,
    Model,
    Resource,
    Status,
    immutable,
    rule,
    rules,
)

PROPERTIES_FORMAT = 1
MAX_RETIRING = 8
RETENTION_DAYS = 30
"""How long `Shred` waits where nothing else is asked for: as long as Key Protect can restore a deleted root key."""
GLOBAL = "global"
"""The name of the global key where a root key's CRN would stand."""

Protection = Literal["Customer", "Global", "None"]


class DataKeyEntry(Item):
    """One data key of the instance, in wrapped form."""

    id: Annotated[
        str,
        Field(
            description="id commits to the data key: base64url of an HKDF of it.",
            pattern=r"^[A-Za-z0-9_-]{43}$",
            max_length=43,
        ),
    ]
    root_key: Annotated[
        str, Field(description="rootKey that wraps it: a CRN, or 'global'.", min_length=1, max_length=256)
    ]
    root_key_version: Annotated[str, Field(description="rootKeyVersion that wraps it.", max_length=128)]
    wrapped: Annotated[
        str,
        Field(
            description="wrapped is the data key as the root key encrypted it. Opaque.",
            min_length=1,
            max_length=8192,
        ),
    ]
    state: Annotated[
        Literal["Active", "Retiring"],
        Field(description="state: Active seals and opens; Retiring only opens, until nothing names it."),
    ]
    created_time: Annotated[
        str,
        Field(
            description="createdTime is when it was recorded.",
            json_schema_extra={"format": "date-time"},
            max_length=64,
        ),
    ]

    @property
    def active(self) -> bool:
        """Whether it is the one that seals."""
        return self.state == "Active"


class Properties(Model):
    """The instance properties: which root key is in force, and every data key that may be needed."""

    format: Annotated[
        int, Field(description="format of these properties; a newer one is refused, never overwritten.", ge=1)
    ] = PROPERTIES_FORMAT
    user_root_key_crn: Annotated[
        str,
        Field(
            alias="userRootKeyCRN",
            description="userRootKeyCRN is the customer's root key in force; empty under the global key.",
            max_length=256,
        ),
    ] = ""
    data_key_revision: Annotated[
        int, Field(description="dataKeyRevision of the spec that the active data key answers.", ge=0)
    ] = 0
    data_keys: Annotated[
        tuple[DataKeyEntry, ...],
        Field(
            description="dataKeys: at most one Active, and those still needed.",
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
                **rules(
                    rule(
                        "self.filter(k, k.state == 'Active').size() <= 1",
                        "at most one data key may be Active",
                    ),
                ),
            },
        ),
    ] = ()
    releases: Annotated[int, Field(description="releases counts the bindings that were let go.", ge=0)] = 0

    @property
    def active(self) -> DataKeyEntry | None:
        """The data key that seals."""
        return next((key for key in self.data_keys if key.active), None)

    def find(self, key_id: str) -> DataKeyEntry | None:
        """The entry of a data key."""
        return next((key for key in self.data_keys if key.id == key_id), None)


class Secrets(Model):
    """How many secrets the instance has, and how they stand."""

    total: Annotated[int, Field(description="total number of secrets of this instance.", ge=0)] = 0
    current: Annotated[int, Field(description="current: sealed under the Active data key.", ge=0)] = 0
    stale: Annotated[int, Field(description="stale: sealed under a former data key.", ge=0)] = 0
    stuck: Annotated[int, Field(description="stuck: their data key cannot be unwrapped now.", ge=0)] = 0


class Deletion(Model):
    """What deleting the instance does while data marts name it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.retentionDays) || (has(self.policy) && self.policy == 'Shred')",
                "retentionDays is how long `Shred` waits; set policy to Shred, or leave it out",
                path=".retentionDays",
            )
        )
    )

    policy: Annotated[
        Literal["Block", "Shred"],
        Field(
            description="policy: Block (default) keeps a deleted instance until no data mart names it; Shred destroys "
            "every sealed password and wrapped data key of it once the retention is over."
        ),
    ] = "Block"
    retention_days: Annotated[
        int | None,
        Field(
            description="retentionDays between the deletion and Shred's destruction (default 30; 0: at once). Until "
            "then policy may be set back to Block. Once the instance is deleted, a smaller number changes nothing.",
            ge=0,
            le=365,
        ),
    ] = None


class InstanceSpec(Model):
    """What the customer asks for."""

    service_instance_id: Annotated[
        str,
        Field(
            description="serviceInstanceId is the GUID of the OpenScale instance. Immutable.",
            pattern=GUID,
            max_length=36,
            json_schema_extra=immutable("serviceInstanceId is immutable; create another OpenScaleInstance"),
        ),
    ]
    credentials: Annotated[
        Credentials | None,
        Field(description="credentials for those bindings of this instance that name none."),
    ] = None
    global_key_policy: Annotated[
        Literal["Allow", "Forbid"],
        Field(
            description="globalKeyPolicy: Allow (default) protects by the operator's global key what no "
            "binding protects; Forbid seals nothing then, and keeps the last binding in force until "
            "another takes over."
        ),
    ] = "Allow"
    data_key_revision: Annotated[
        int,
        Field(
            description="dataKeyRevision: raise it for a new data key; everything is re-encrypted. Never lowered.",
            ge=0,
            le=2**31 - 1,
            json_schema_extra=rules(
                rule("self >= oldSelf", "dataKeyRevision may only be raised", reason="FieldValueForbidden")
            ),
        ),
    ] = 0
    deletion: Annotated[
        Deletion | None, Field(description="deletion: what deleting this instance does while data marts name it.")
    ] = None
    suspend: Annotated[
        bool, Field(description="suspend: true stops our writes; never the key-state poll, nor refusals.")
    ] = False


class SeenDeletion(Model):
    """What was seen of the deletion of an instance, so that its retention cannot be taken back."""

    policy: Annotated[
        Literal["Block", "Shred"], Field(description="policy of spec.deletion as it was last seen since the deletion.")
    ]
    shred_time: Annotated[
        str | None,
        Field(
            description="shredTime is when Shred destroys everything. Once known it may only be moved later.",
            json_schema_extra={"format": "date-time"},
            max_length=64,
        ),
    ] = None


class InstanceStatus(Status):
    """What the operator found and recorded."""

    protection: Annotated[
        Protection,
        Field(description="protection: Customer, Global or None: whose root key is in force."),
    ] = "None"
    secrets: Annotated[Secrets | None, Field(description="secrets counted by how they stand.")] = None
    deletion: Annotated[
        SeenDeletion | None, Field(description="deletion: what was seen of the deletion of this instance.")
    ] = None
    properties: Annotated[
        Properties | None,
        Field(description="properties: the root key in force and the wrapped data keys. Back this up."),
    ] = None


class OpenScaleInstance(Resource):
    """OpenScaleInstance is one Watson OpenScale instance and the key hierarchy of its secrets."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(oldSelf.status) || !has(oldSelf.status.properties) || "
                "!has(oldSelf.status.properties.dataKeys) || "
                "oldSelf.status.properties.dataKeys.all(o, o.state != 'Active' || (has(self.status) && "
                "has(self.status.properties) && has(self.status.properties.dataKeys) && "
                "self.status.properties.dataKeys.exists(n, n.id == o.id)))",
                "an Active data key may turn Retiring, but may not vanish: secrets would be lost",
                path=".status.properties.dataKeys",
                reason="FieldValueForbidden",
            ),
            rule(
                "!has(oldSelf.status) || !has(oldSelf.status.deletion) || !has(oldSelf.status.deletion.shredTime) || "
                "(has(self.status) && has(self.status.deletion) && has(self.status.deletion.shredTime) && "
                "self.status.deletion.shredTime >= oldSelf.status.deletion.shredTime)",
                "the time at which everything is destroyed may be moved later, but not earlier",
                path=".status.deletion.shredTime",
                reason="FieldValueForbidden",
            ),
        )
    )
    KIND: ClassVar[str] = "OpenScaleInstance"
    PLURAL: ClassVar[str] = "openscaleinstances"
    SHORT: ClassVar[str] = "osi"
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.serviceInstanceId",)
    COLUMNS: ClassVar[tuple[tuple[str, str, int, str], ...]] = (
        ("Protection", ".status.protection", 0, "Whose root key is in force."),
        ("Secrets", ".status.secrets.total", 0, "Number of secrets."),
        ("Current", ".status.secrets.current", 0, "Secrets under the active data key."),
        ("Stuck", ".status.secrets.stuck", 0, "Secrets whose data key cannot be unwrapped now."),
        ("Ready", f"{READY}.status", 0, "Whether everything is as asked for."),
        ("Reason", f"{READY}.reason", 0, "Why it is, or is not."),
        ("Age", ".metadata.creationTimestamp", 0, "Time since its creation."),
        ("Message", f"{READY}.message", 1, "What was found and what helps."),
        ("Root Key", ".status.properties.userRootKeyCRN", 1, "The customer's root key in force."),
    )

    spec: Annotated[InstanceSpec, Field(description="spec is what the customer asks for.")]
    status: Annotated[InstanceStatus, Field(description="status is what the operator found and recorded.")] = (
        InstanceStatus()
    )

    @property
    def properties(self) -> Properties:
        """The properties, empty where none were written yet."""
        return self.status.properties or Properties()
