"""Settings of operator and gateway, from the environment: ``OPENSCALE_BYOK_…``. A wrong one is refused by name."""

import json
import re
from typing import Annotated, get_origin

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from openscale_byok.adapters.egress import Way
from openscale_byok.adapters.root_keys import Policy
from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.engine.context import Tuning
from openscale_byok.resources.base import DNS_SUBDOMAIN, GUID
from openscale_byok.resources.crn import ROOT_KEY_PATTERN
from openscale_byok.shell.environment import PREFIX
from openscale_byok.shell.logs import Format

PROXY_URL = r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?/?"
HOST_PATTERN = r"(\*\.)?[a-z0-9._-]+|\[?[0-9a-f:.]+\]?"
ROOT_KEY_OR_NONE = f"^$|{ROOT_KEY_PATTERN}"
PROCESSOR_SHARE = 0.3
"""What the passes of one namespace may take of the processor: two may be full of work, and a third still runs."""


class Settings(BaseSettings):
    """Every setting that both have, its default and its bounds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True, enable_decoding=False)

    insecure_http: Annotated[
        bool,
        Field(description="Whether IAM and Key Protect may be called over http. For development: never elsewhere."),
    ] = False
    namespace: Annotated[str, Field(min_length=1, description="The operator's own namespace.")] = "openscale-byok"
    namespaces: Annotated[
        tuple[str, ...], Field(description="Namespaces that are served, and no other; a JSON list. Empty: all.")
    ] = ()
    global_key_secret: Annotated[str, Field(min_length=1, description="Secret of the global key.")] = (
        "openscale-byok-global-key"
    )
    global_root_key: Annotated[
        str,
        Field(
            pattern=ROOT_KEY_OR_NONE,
            description="CRN of a root key in Key Protect that is the global key, instead of the Secret's versions.",
        ),
    ] = ""
    global_root_key_former: Annotated[
        str,
        Field(
            pattern=ROOT_KEY_OR_NONE,
            description="CRN of the root key that was the global key before: it still opens what it wrapped.",
        ),
    ] = ""
    global_root_key_secret: Annotated[
        str, Field(min_length=1, description="Secret in the operator's namespace with the API key for these root keys.")
    ] = "openscale-byok-global-root-key"
    global_root_key_endpoint: Annotated[
        str, Field(pattern=r"^(https?://.+)?$", description="Their Key Protect endpoint, if it is not the usual one.")
    ] = ""
    iam_url: Annotated[str, Field(pattern=r"^https?://", description="IAM, for access tokens.")] = (
        "https://iam.cloud.ibm.com"
    )
    key_protect_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://.+)?$",
            description="Key Protect, instead of the public endpoint that follows from each CRN (private network).",
        ),
    ] = ""
    proxy_url: Annotated[
        str, Field(description="HTTP proxy for Key Protect and IAM, by CONNECT; never for the API server. Empty: none.")
    ] = ""
    no_proxy: Annotated[
        tuple[str, ...], Field(description="Hosts that are asked without the proxy; a JSON list, '*.' allowed.")
    ] = ()
    proxy_credentials: Annotated[
        str, Field(description="Folder with the files username and password for the proxy. Empty: it asks for none.")
    ] = ""
    ca_bundle: Annotated[
        str,
        Field(
            description="PEM file of authorities that are trusted for Key Protect, IAM and the proxy, besides those of "
            "the machine."
        ),
    ] = ""
    allowed_endpoints: Annotated[
        tuple[str, ...],
        Field(description="Endpoints that a binding may name in spec.rootKey.endpoint; a JSON list, '*.' allowed."),
    ] = (
        "https://*.kms.cloud.ibm.com",
        "https://*.kms.appdomain.cloud",
        "https://*.hs-crypto.appdomain.cloud",
    )
    allowed_root_keys: Annotated[
        dict[str, tuple[str, ...]],
        Field(description="CRN prefixes by namespace ('*': every other); a JSON object. Empty: all are allowed."),
    ] = Field(default_factory=dict)
    allowed_instances: Annotated[
        dict[str, str],
        Field(
            description="The namespace of each service instance id ('*': every other id; as a namespace: any); a JSON "
            "object. Empty: an id belongs to whoever claims it first.",
        ),
    ] = Field(default_factory=dict)
    minimum_retention_days: Annotated[
        int, Field(ge=0, le=365, description="Days that Shred waits at least, whatever spec.deletion asks for.")
    ] = 0
    trusted_profiles: Annotated[bool, Field(description="Whether bindings may use trusted profiles.")] = False
    key_poll_seconds: Annotated[float, Field(ge=0.1, le=3_600, description="Between two looks at a root key.")] = 30
    source_refresh_seconds: Annotated[
        float, Field(ge=0.1, le=86_400, description="Between two looks at a source that is kept.")
    ] = 300
    writes_in_flight: Annotated[int, Field(ge=1, le=256, description="API writes at once.")] = 32
    instances_at_once: Annotated[int, Field(ge=1, le=256, description="Instances worked on at once.")] = 8
    audit_file: Annotated[
        str, Field(min_length=1, description="File that audit lines are appended to; '-': standard output.")
    ] = "-"
    audit_chain: Annotated[bool, Field(description="Whether each audit line names the digest of the one before.")] = (
        False
    )
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$", description="debug, info, …")] = "info"
    log_format: Annotated[Format, Field(description="json: for what collects logs; text: for people.")] = "json"

    @field_validator("*", mode="before")
    @classmethod
    def _from_json(cls, given: object, info: ValidationInfo) -> object:
        """Lists and maps are JSON. Here, so that what is none is refused like everything else, and not quoted."""
        kind = get_origin(cls.model_fields[str(info.field_name)].annotation)
        if kind not in (tuple, dict) or not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            example = '["one", "another"]' if kind is tuple else '{"name": "value"}'
            raise ValueError(f"must be JSON, as in {example}") from None

    @field_validator("iam_url", "key_protect_url", "global_root_key_endpoint", "allowed_endpoints")
    @classmethod
    def _in_secret(cls, given: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        """API keys and data keys do not cross a network in the clear because of a missing letter."""
        urls = (given,) if isinstance(given, str) else given
        if not info.data.get("insecure_http", False) and any(url.lower().startswith("http://") for url in urls):
            raise ValueError("must be https; for development, OPENSCALE_BYOK_INSECURE_HTTP=true allows http")
        return given

    @field_validator("proxy_url")
    @classmethod
    def _a_proxy(cls, given: str) -> str:
        """A password in it would be in the pod's spec, and in every message that names the proxy."""
        if given and not re.fullmatch(PROXY_URL, given, re.IGNORECASE):
            raise ValueError(
                "must be http://HOST:PORT or https://HOST:PORT, without a path; a user name and a password belong into "
                "the files of OPENSCALE_BYOK_PROXY_CREDENTIALS"
            )
        return given.rstrip("/")

    @field_validator("namespaces")
    @classmethod
    def _names_of_namespaces(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", one) for one in given):
            raise ValueError("each must be the name of a namespace; there are no patterns")
        return tuple(dict.fromkeys(given))

    @field_validator("no_proxy")
    @classmethod
    def _hosts(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(HOST_PATTERN, one, re.IGNORECASE) for one in given):
            raise ValueError("each must be a host name or an address, without scheme and port, or '*.' and a domain")
        return tuple(one.lower().rstrip(".") for one in given)

    def way(self) -> Way:
        """The way to Key Protect and IAM."""
        return Way(self.proxy_url, self.no_proxy, self.proxy_credentials, self.ca_bundle)

    def tuning(self) -> Tuning:
        """The numbers that the engine needs."""
        return Tuning(
            source_refresh_seconds=self.source_refresh_seconds,
            key_poll_seconds=self.key_poll_seconds,
            writes_in_flight=self.writes_in_flight,
            instances_at_once=self.instances_at_once,
            processor_share=PROCESSOR_SHARE,
        )

    @field_validator("allowed_instances")
    @classmethod
    def _ids_and_namespaces(cls, given: dict[str, str]) -> dict[str, str]:
        """One that is misspelt would be nobody's, and nothing would say so. What was given is not quoted."""
        if not all(re.match(rf"^\*$|{GUID}", id_) for id_ in given):
            raise ValueError("each key must be a service instance id in lower case, or '*'")
        if not all(re.match(rf"^\*$|{DNS_SUBDOMAIN}", namespace) for namespace in given.values()):
            raise ValueError("each value must be the name of a namespace, or '*'")
        return given

    def instance_policy(self) -> InstancePolicy:
        """What is allowed of instances."""
        return InstancePolicy(self.allowed_instances, self.minimum_retention_days)

    def policy(self) -> Policy:
        """What bindings are allowed."""
        return Policy(
            endpoints=self.allowed_endpoints,
            root_keys=self.allowed_root_keys,
            trusted_profiles=self.trusted_profiles,
            default_endpoint=self.key_protect_url,
        )


class OperatorSettings(Settings):
    """The operator's settings: those that it shares with the gateway, and its own (``OPENSCALE_BYOK_OPERATOR_…``)."""

    operator_address: Annotated[str, Field(min_length=1, description="Address of the health port.")] = "0.0.0.0"  # noqa: S104 -- a pod's own
    operator_health_port: Annotated[
        int, Field(ge=0, le=65_535, description="Port of /livez, /readyz and /metrics, without TLS; 0: any.")
    ] = 8082
