"""DataMart: a database of an instance, and its sealed password."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from openscale_byok.resources.base import (
    READY,
    InstanceRef,
    Model,
    Resource,
    SecretKeyRef,
    Status,
    Value,
    immutable,
    rule,
    rules,
)

MAX_PASSWORD_BYTES = 4_096
SOURCE_REMOVED = '.status.conditions[?(@.type=="SourceRemoved")]'
PASSWORD_FIELD = "spec.database.password"
MAX_CA_CHARACTERS = 32_768
MAX_DESCRIPTION_CHARACTERS = 1_024
MAX_DISPLAY_NAME_CHARACTERS = 256
# Certificates and comments only (RFC 7468 calls them explanatory text): a private key that was pasted along begins with
# five dashes, as whatever is in PEM, and is refused, not stored. Whether they can be parsed no CEL can tell.
_COMMENT = r"([^-]|-{1,4}[^-])*"
CERTIFICATES = (
    rf"^{_COMMENT}(-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----{_COMMENT})+-{{0,4}}$"
)
NOT_CERTIFICATES = "caBundle must hold one or more PEM certificates; beside them only comments without five dashes"
CA_NOT_USED = "caBundle is what VerifyFull checks the server against; set tls to VerifyFull, or take caBundle out"


class Password(Model):
    """Where the password is first read from."""

    secret_ref: Annotated[
        SecretKeyRef | None,
        Field(
            description="secretRef is the Secret that holds the password. One of type "
            "openscale.byok.dev/handover (a single key, 'password') is deleted once its password is "
            "safely sealed; any other is kept. Without it the password is given through the gateway."
        ),
    ] = None
    revision: Annotated[
        int,
        Field(description="revision: raise it to have the Secret read again at once.", ge=0, le=2**31 - 1),
    ] = 0


class Database(Model):
    """The data mart's database."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!has(self.caBundle) || self.tls == 'VerifyFull'", CA_NOT_USED, path=".caBundle"),
        )
    )

    type: Annotated[Literal["PostgreSQL", "Db2"], Field(description="type of the database: PostgreSQL or Db2.")]
    host: Annotated[
        str,
        Field(
            description="host name or address.",
            min_length=1,
            max_length=253,
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$",
        ),
    ]
    port: Annotated[int, Field(description="port of the database.", ge=1, le=65_535)]
    name: Annotated[str, Field(description="name of the database.", min_length=1, max_length=128)]
    schema_: Annotated[
        str, Field(alias="schema", description="schema inside the database.", min_length=1, max_length=128)
    ]
    username: Annotated[str, Field(description="username to log in as.", min_length=1, max_length=128)]
    tls: Annotated[
        Literal["VerifyFull", "Require", "Disable"],
        Field(
            description="tls: VerifyFull (default) checks the server's name, Require only "
            "encrypts, Disable does neither. A password goes nowhere where less is asked than when it was given."
        ),
    ] = "VerifyFull"
    ca_bundle: Annotated[
        str | None,
        Field(
            description="caBundle holds the PEM certificates of the authorities that the server's certificate is "
            "checked against; those that the client trusts anyway where there is none. Comments beside them are fine.",
            max_length=MAX_CA_CHARACTERS,
            json_schema_extra=rules(rule(f"self.matches(r'{CERTIFICATES}')", NOT_CERTIFICATES)),
        ),
    ] = None
    password: Annotated[Password, Field(description="password is where the password is first read from.")] = Password()


class DataMartSpec(Model):
    """Which database, of which instance."""

    instance_ref: Annotated[
        InstanceRef,
        Field(
            description="instanceRef is the instance that this belongs to, in this namespace. Immutable.",
            json_schema_extra=immutable("instanceRef may not be changed; create another DataMart"),
        ),
    ]
    display_name: Annotated[
        str | None,
        Field(
            description="displayName is what people call this data mart, on one line.",
            min_length=1,
            max_length=MAX_DISPLAY_NAME_CHARACTERS,
            pattern=r"^[^\x00-\x1f\x7f]+$",
        ),
    ] = None
    description: Annotated[
        str | None,
        Field(description="description of this data mart.", max_length=MAX_DESCRIPTION_CHARACTERS),
    ] = None
    database: Annotated[Database, Field(description="database that OpenScale keeps this data mart in.")]
    deletion_protection: Annotated[
        bool,
        Field(
            description="deletionProtection: true has this object's deletion refused, as its sealed password may be "
            "the only copy. The chart's admission policy enforces it; the deletion of the whole namespace passes."
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSource(Value):
    """Which Secret, in which state, the password was read from; or that it was given through the gateway."""

    uid: Annotated[str, Field(description="uid of the Secret.", max_length=128)] = ""
    resource_version: Annotated[str, Field(description="resourceVersion of the Secret.", max_length=128)] = ""
    given: Annotated[
        bool,
        Field(description="given: through the gateway; there is no Secret, and revision counts the passwords given."),
    ] = False
    handover: Annotated[bool, Field(description="handover: whether its type lets the operator delete it.")] = False
    name: Annotated[str | None, Field(description="name of the Secret.", max_length=253)] = None
    key: Annotated[str | None, Field(description="key inside the Secret.", max_length=253)] = None
    revision: Annotated[
        int | None, Field(description="revision of the spec that was answered by reading it.", ge=0)
    ] = None


class SealedPassword(Model):
    """The sealed password and where it came from."""

    data_key: Annotated[
        str, Field(description="dataKey is the id of the data key that it is sealed under.", max_length=43)
    ]
    envelope: Annotated[
        str,
        Field(
            description="envelope: a compact JWE (RFC 7516), bound to this object, its endpoint and its proof.",
            max_length=32_768,
        ),
    ]
    source: Annotated[SealedSource | None, Field(description="source that the password was read from.")] = None
    sealed_time: Annotated[
        str,
        Field(
            description="sealedTime is when it was sealed.",
            json_schema_extra={"format": "date-time"},
            max_length=64,
        ),
    ]
    stuck_under: Annotated[
        str | None,
        Field(
            description="stuckUnder names the active data key at the time when this was found impossible to open.",
            max_length=43,
        ),
    ] = None


class DataMartStatus(Status):
    """The sealed password, and how it stands."""

    sealed_password: Annotated[
        SealedPassword | None, Field(description="sealedPassword of this data mart. Back this up.")
    ] = None


class DataMart(Resource):
    """DataMart is a database of an OpenScaleInstance whose password is kept sealed."""

    KIND: ClassVar[str] = "DataMart"
    PLURAL: ClassVar[str] = "datamarts"
    SHORT: ClassVar[str] = "odm"
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.instanceRef.name",)
    COLUMNS: ClassVar[tuple[tuple[str, str, int, str], ...]] = (
        ("Instance", ".spec.instanceRef.name", 0, "The instance that it belongs to."),
        ("Database", ".spec.database.type", 0, "Type of the database."),
        ("Host", ".spec.database.host", 0, "Host of the database."),
        ("Ready", f"{READY}.status", 0, "Whether its password is safely sealed."),
        ("Reason", f"{READY}.reason", 0, "Why it is, or is not."),
        ("Age", ".metadata.creationTimestamp", 0, "Time since its creation."),
        ("Source", f"{SOURCE_REMOVED}.reason", 1, "What became of the source Secret."),
        ("Message", f"{READY}.message", 1, "What was found and what helps."),
    )

    spec: Annotated[DataMartSpec, Field(description="spec says which database, of which instance.")]
    status: Annotated[DataMartStatus, Field(description="status holds the sealed password and how it stands.")] = (
        DataMartStatus()
    )

    @property
    def instance_key(self) -> tuple[str, str]:
        """Namespace and name of the instance."""
        return self.metadata.namespace, self.spec.instance_ref.name
