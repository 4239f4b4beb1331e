"""What every kind shares: frozen models in Kubernetes' spelling, metadata, conditions, references."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "openscale.byok.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/protected"
ABANDON_ANNOTATION = f"{GROUP}/abandon"
HANDOVER_TYPE = f"{GROUP}/handover"
HANDOVER_KEY = "password"

READY = '.status.conditions[?(@.type=="Ready")]'
"""JSON path of the condition Ready, for printer columns."""

DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SECRET_KEY = r"^[-._a-zA-Z0-9]+$"
GUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class Model(BaseModel):
    """A frozen value, spelt in camelCase outside. Errors never print what was put in."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    def dump(self) -> dict[str, Any]:
        """As JSON would hold it; what was never set stays out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class Item(Model):
    """An item of a list. A merge patch replaces lists whole, so what we do not know must survive in it."""

    model_config = ConfigDict(extra="allow")


def rule(expression: str, message: str, *, path: str = "", reason: str = "FieldValueInvalid") -> dict[str, Any]:
    """A CEL rule that the API server enforces, with the message that people get to read."""
    found = {"rule": expression, "message": message, "reason": reason}
    return found | ({"fieldPath": path} if path else {})


def rules(*found: dict[str, Any]) -> dict[str, Any]:
    """CEL rules as the schema extension that carries them."""
    return {"x-kubernetes-validations": list(found)}


def immutable(message: str) -> dict[str, Any]:
    """A field that never changes once it was set."""
    return rules(rule("self == oldSelf", message, reason="FieldValueForbidden"))


class Meta(Model):
    """The part of ObjectMeta that we read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = "0"
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def deleting(self) -> bool:
        """Whether someone asked for its deletion."""
        return self.deletion_timestamp is not None

    @property
    def ours(self) -> bool:
        """Whether it carries our finalizer."""
        return FINALIZER in self.finalizers

    @property
    def version(self) -> int:
        """The resourceVersion as a number: it may be compared since KEP-5504 (and was one in practice)."""
        return int(self.resource_version)


class Condition(Item):
    """One metav1.Condition."""

    type: Annotated[str, Field(description="type of the condition, in CamelCase.", min_length=1, max_length=316)]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="status of the condition.")]
    observed_generation: Annotated[
        int, Field(description="observedGeneration is the metadata.generation that this was found for.", ge=0)
    ] = 0
    last_transition_time: Annotated[
        str,
        Field(
            description="lastTransitionTime is when the status last changed.",
            json_schema_extra={"format": "date-time"},
            max_length=64,
        ),
    ]
    reason: Annotated[
        str,
        Field(
            description="reason is the CamelCase word for why.",
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]+$",
        ),
    ]
    message: Annotated[str, Field(description="message says what was found and what helps.", max_length=4096)] = ""


class Status(Model):
    """What every status holds."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="conditions follow kstatus: Ready, Reconciling and Stalled, and this kind's own.",
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    observed_generation: Annotated[
        int,
        Field(
            description="observedGeneration is the metadata.generation that was last acted on; -1: not seen yet.",
            ge=-1,
        ),
    ] = -1


class InstanceRef(Model):
    """A reference to an OpenScaleInstance in the same namespace."""

    name: Annotated[
        str,
        Field(
            description="name of the OpenScaleInstance in this namespace.",
            min_length=1,
            max_length=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]


class SecretKeyRef(Model):
    """A reference to one key of a Secret in the same namespace."""

    name: Annotated[
        str,
        Field(
            description="name of the Secret in this namespace.",
            min_length=1,
            max_length=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]
    key: Annotated[str, Field(description="key inside the Secret.", min_length=1, max_length=253, pattern=SECRET_KEY)]


class TrustedProfile(Model):
    """An IAM trusted profile that a ServiceAccount of this namespace may assume."""

    id: Annotated[
        str,
        Field(
            description="id of the trusted profile, as IAM shows it: Profile-<uuid>.",
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9-]+$",
        ),
    ]
    service_account_name: Annotated[
        str,
        Field(
            description="serviceAccountName is the ServiceAccount of this namespace whose token "
            "(audience iam) is exchanged.",
            min_length=1,
            max_length=253,
            pattern=DNS_SUBDOMAIN,
        ),
    ]


class Credentials(Model):
    """How to sign in to IAM: exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.apiKeySecretRef) != has(self.trustedProfile)",
                "exactly one of `apiKeySecretRef` and `trustedProfile` must be set",
            )
        )
    )

    api_key_secret_ref: Annotated[
        SecretKeyRef | None, Field(description="apiKeySecretRef is the Secret that holds an IAM API key.")
    ] = None
    trusted_profile: Annotated[
        TrustedProfile | None,
        Field(description="trustedProfile is an IAM trusted profile; off unless the operator's owner allows it."),
    ] = None


class Resource(Model):
    """An object of one of our kinds."""

    metadata: Meta

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Self:
        """Parse an object as the API server holds it."""
        return cls.model_validate(raw)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
