"""Settings of the gateway: those of the operator, and its own (``OPENSCALE_BYOK_GATEWAY_…``)."""

from typing import Annotated

from pydantic import Field

from openscale_byok.shell.settings import Settings


class GatewaySettings(Settings):
    """Every setting of the gateway, its default and its bounds."""

    gateway_address: Annotated[str, Field(min_length=1, description="Address to listen on.")] = "0.0.0.0"  # noqa: S104 -- a pod's own
    gateway_port: Annotated[int, Field(ge=0, le=65_535, description="Port of the API; 0: any that is free.")] = 8443
    gateway_health_port: Annotated[
        int, Field(ge=0, le=65_535, description="Port of /livez, /readyz and /metrics, without TLS; 0: any.")
    ] = 8081
    gateway_certificate: Annotated[
        str,
        Field(description="PEM file of the serving certificate; read again when it changes. Empty: our own authority."),
    ] = ""
    gateway_private_key: Annotated[str, Field(description="PEM file of its private key.")] = ""
    gateway_authority: Annotated[
        str, Field(min_length=1, description="Secret of our own authority, and ConfigMap of its certificate.")
    ] = "openscale-byok-gateway-ca"
    gateway_names: Annotated[
        tuple[str, ...], Field(description="Host names and addresses in a certificate of ours; a JSON list.")
    ] = ("openscale-byok-gateway", "localhost", "127.0.0.1")
    gateway_audiences: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Audiences that a Kubernetes token must be made for; a JSON list."),
    ] = ("openscale-byok",)
    gateway_requests_per_second: Annotated[
        float, Field(gt=0, le=100_000, description="Requests of one caller, on average.")
    ] = 50
    gateway_burst: Annotated[int, Field(ge=1, le=100_000, description="Requests of one caller at once.")] = 100
    gateway_connections: Annotated[
        int, Field(ge=16, le=65_536, description="Connections to the API at once, some 0.3 MiB each.")
    ] = 512
    gateway_waits: Annotated[
        int,
        Field(
            ge=0, le=65_536, description="Requests that wait at once (`Prefer: wait`); half the connections at most."
        ),
    ] = 64
    gateway_waits_of_one_caller: Annotated[
        int, Field(ge=0, le=65_536, description="Requests of one caller that wait at once.")
    ] = 4
