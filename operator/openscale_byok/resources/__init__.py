"""The three kinds as frozen models; the only place that knows field names.

Pure: nothing here reads a clock, a setting or the network.
"""

from openscale_byok.resources.base import (
    ABANDON_ANNOTATION,
    API_VERSION,
    DNS_SUBDOMAIN,
    FINALIZER,
    FORMER_MANAGED_BY,
    GROUP,
    HANDOVER_KEY,
    HANDOVER_TYPE,
    MANAGED_BY,
    VERSION,
    Condition,
    Credentials,
    Meta,
    Resource,
    SecretKeyRef,
    Status,
    TrustedProfile,
    drop_unused,
)
from openscale_byok.resources.binding import BindingStatus, Role, RootKeyBinding
from openscale_byok.resources.crn import RootKeyCRN
from openscale_byok.resources.datamart import (
    CERTIFICATES,
    MAX_CA_CHARACTERS,
    MAX_DESCRIPTION_CHARACTERS,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_PASSWORD_BYTES,
    PASSWORD_FIELD,
    DataMart,
    DataMartSpec,
    DataMartStatus,
    SealedPassword,
    SealedSource,
)
from openscale_byok.resources.instance import (
    GLOBAL,
    MAX_RETIRING,
    PROPERTIES_FORMAT,
    RETENTION_DAYS,
    DataKeyEntry,
    InstanceStatus,
    OpenScaleInstance,
    Properties,
    Protection,
    Secrets,
    SeenDeletion,
)

KINDS: tuple[type[OpenScaleInstance] | type[RootKeyBinding] | type[DataMart], ...] = (
    OpenScaleInstance,
    RootKeyBinding,
    DataMart,
)

__all__ = [
    "ABANDON_ANNOTATION", "API_VERSION", "CERTIFICATES", "DNS_SUBDOMAIN", "FINALIZER", "FORMER_MANAGED_BY",
    "GLOBAL", "GROUP",
    "HANDOVER_KEY", "HANDOVER_TYPE", "KINDS", "MANAGED_BY", "MAX_CA_CHARACTERS", "MAX_DESCRIPTION_CHARACTERS",
    "MAX_DISPLAY_NAME_CHARACTERS", "MAX_PASSWORD_BYTES", "MAX_RETIRING", "PASSWORD_FIELD", "PROPERTIES_FORMAT",
    "RETENTION_DAYS", "VERSION", "BindingStatus", "Condition", "Credentials", "DataKeyEntry", "DataMart",
    "DataMartSpec", "DataMartStatus", "InstanceStatus", "Meta", "OpenScaleInstance", "Properties", "Protection",
    "Resource", "Role", "RootKeyBinding", "RootKeyCRN", "SealedPassword", "SealedSource", "SecretKeyRef", "Secrets",
    "SeenDeletion", "Status", "TrustedProfile", "drop_unused",
]  # fmt: skip
