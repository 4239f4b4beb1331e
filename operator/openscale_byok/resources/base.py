"""What every kind shares: frozen models in Kubernetes' spelling, metadata, conditions, references.

Whoever may create an object says how large its annotations, labels and managed fields are. What we do not use of them
is dropped here, where an object is parsed, so that what one costs in memory is for us to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, TypeAdapter
from pydantic.alias_generators import to_camel

GROUP = "openscale.byok.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/protected"
ABANDON_ANNOTATION = f"{GROUP}/abandon"
HANDOVER_TYPE = f"{GROUP}/handover"
HANDOVER_KEY = "password"
MANAGED_BY = f"{GROUP}/managed-by"
FORMER_MANAGED_BY = "app.kubernetes.io/managed-by"
"""What the gateway used before it had a label of its own prefix: Helm and kustomize set this one too."""
KEPT_ANNOTATIONS = (ABANDON_ANNOTATION,)
KEPT_LABELS = (MANAGED_BY, FORMER_MANAGED_BY)
MAX_KEPT_CHARACTERS = 253
"""Of a value that is kept. The API server lets an annotation have 262,144; none of ours needs more than this."""

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


class Value:
    """A frozen value of slots, for what is kept of each of many thousands of objects: a model takes ten times as much.

    Spelt in camelCase outside, as a `Model` is.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    def dump(self) -> dict[str, Any]:
        """As JSON would hold it, with what was never set as null."""
        return {to_camel(each.name): getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type] # of subclasses


_Texts = Annotated[Mapping[str, str], PlainSerializer(dict)]
_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    """One and the same for all: a dict of their own is most of what little metadata they have."""
    return _NOTHING


def _only(kept: tuple[str, ...]) -> PlainValidator:
    """Takes annotations or labels, and drops what we do not use of them."""

    def find(raw: object) -> Mapping[str, str]:
        if not isinstance(raw, Mapping):
            raise ValueError("not a map of texts")  # noqa: TRY004 -- pydantic's own errors are ValueErrors
        found = {name: raw[name] for name in kept if name in raw}
        if not all(isinstance(value, str) for value in found.values()):
            raise ValueError("not a map of texts")
        return {name: value[:MAX_KEPT_CHARACTERS] for name, value in found.items()} if found else _NOTHING

    return PlainValidator(find)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta(Value):
    """The part of ObjectMeta that we use."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = "0"
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    annotations: Annotated[_Texts, _only(KEPT_ANNOTATIONS)] = field(default_factory=_nothing, hash=False)
    labels: Annotated[_Texts, _only(KEPT_LABELS)] = field(default_factory=_nothing, hash=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Meta":
        """Parse the metadata of an object as the API server holds it."""
        return _META.validate_python(raw)

    def at(self, resource_version: str) -> Self:
        """The same, at another resourceVersion."""
        return replace(self, resource_version=resource_version)

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


_META = TypeAdapter(Meta)
_USED = frozenset(to_camel(each.name) for each in fields(Meta))


def drop_unused(raw: dict[str, Any]) -> None:
    """Take out of an object, as the API server sent it, the metadata that `Meta` would not keep."""
    meta = raw.get("metadata")
    if not isinstance(meta, dict):
        return
    for name in [name for name in meta if name not in _USED]:
        del meta[name]
    for name, kept in (("annotations", KEPT_ANNOTATIONS), ("labels", KEPT_LABELS)):
        found = meta.get(name)
        if isinstance(found, dict):
            meta[name] = {key: found[key] for key in kept if key in found}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyRef(Value):
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
