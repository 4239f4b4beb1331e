"""The gateway's own certificate authority on a real API server: replicas agree, and clients go on to trust them."""

import asyncio
import ssl
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from kubernetes.aio import client, config

from local_cluster import Cluster
from openscale_byok.adapters.cluster import Cluster as Adapter
from openscale_byok.adapters.serving_certificate import BUNDLE, OwnCertificate
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.application import application
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.server import Ports, serve
from openscale_byok.shell.gateway.settings import GatewaySettings

NAME = "openscale-byok-gateway-ca"
NAMES = ("gateway.example", "localhost", "127.0.0.1")


class Clock:
    """Time that is set."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class Replicas:
    """Replicas of the gateway in one namespace, each with a connection of its own to the API server."""

    def __init__(self, stack: AsyncExitStack, kubeconfig: Path, namespace: str) -> None:
        self.stack, self.kubeconfig, self.namespace, self.clock = stack, kubeconfig, namespace, Clock()

    async def api(self) -> Adapter:
        """The API server. (`Cluster.connect` would take the KUBECONFIG of this process's start.)"""
        settings = client.Configuration()
        settings.client_session_kwargs = {"trust_env": False}
        await config.load_kube_config(str(self.kubeconfig), client_configuration=settings, persist_config=False)
        return Adapter(await self.stack.enter_async_context(client.ApiClient(configuration=settings)))

    async def one(self) -> OwnCertificate:
        """A replica that has not started."""
        api = await self.api()
        return OwnCertificate(api, self.namespace, NAME, NAMES, self.clock)

    async def started(self, number: int) -> list[OwnCertificate]:
        """So many that start at once."""
        return await asyncio.gather(*[each.start() for each in [await self.one() for _ in range(number)]])

    async def bundle(self) -> str:
        """What is published."""
        api = await self.api()
        return (await api.config_map(self.namespace, NAME))[1][BUNDLE]

    async def secret(self) -> dict[str, bytes]:
        """What the Secret holds."""
        api = await self.api()
        return dict((await api.read(self.namespace, NAME)).values)


@pytest.fixture
async def replicas(crds: Cluster, namespace: str):
    """As the cluster's admin."""
    async with AsyncExitStack() as stack:
        yield Replicas(stack, crds.kubeconfig, namespace)


def kept(bundle: str) -> list[int]:
    """The serial numbers of a bundle."""
    return [each.serial_number for each in x509.load_pem_x509_certificates(bundle.encode())]


def verifies(certificate: OwnCertificate, bundle: str, name: str = NAMES[0]) -> str:
    """A handshake of a client with Python's own defaults and the strict rules; what it refuses, or nothing."""
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    trust = ssl.create_default_context(cadata=bundle)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    user = trust.wrap_bio(client_in, client_out, server_hostname=name)
    server = certificate.context.wrap_bio(server_in, server_out, server_side=True)
    for _ in range(4):
        for side in (user, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            server_in.write(client_out.read())
            client_in.write(server_out.read())
    assert user.version() == "TLSv1.3"
    return ""


async def test_replicas_that_start_at_once_agree_and_clients_verify_them(replicas: Replicas):
    """One authority is made, whoever is first; its ConfigMap alone verifies each replica, by name and by address."""
    found = await replicas.started(4)
    bundle = await replicas.bundle()
    assert len(kept(bundle)) == 1
    for each in found:
        assert [verifies(each, bundle, name) for name in NAMES] == ["", "", ""]
        assert "Hostname mismatch" in verifies(each, bundle, "other.example")
    assert (await replicas.secret())["tls.crt"].decode() == bundle


async def test_what_is_there_already_is_left_alone(replicas: Replicas):
    """Another start, and looks at what needs nothing, write nothing: the resourceVersions stay."""
    found = await replicas.started(2)
    api = await replicas.api()

    async def versions() -> tuple[str, str]:
        source = await api.read(replicas.namespace, NAME)
        return source.resource_version, (await api.config_map(replicas.namespace, NAME))[0]

    before = await versions()
    await asyncio.gather(*(each.look_again() for each in found))
    await replicas.started(1)
    assert await versions() == before


async def test_a_rotation_keeps_every_client_working(replicas: Replicas):
    """Replicas that rotate at once agree; yesterday's bundle verifies today's certificate, for a year and a half."""
    found, start = await replicas.started(3), replicas.clock.time
    authorities = {*kept(await replicas.bundle())}
    yesterday = await replicas.bundle()
    for days in (240, 244, 274, 303, 305, 364, 366, 480, 488, 545):
        replicas.clock.time = start + timedelta(days=days)
        await asyncio.gather(*(each.look_again() for each in found))
        today = await replicas.bundle()
        authorities |= {*kept(today)}
        signers = {each._signer.serial_number for each in found}
        assert len(signers) == 1
        assert signers <= {*kept(yesterday)} & {*kept(today)}
        yesterday = today
    assert len(authorities) == 3


async def test_the_old_bundle_verifies_after_a_rotation_by_handshake(replicas: Replicas):
    """Made now, as OpenSSL knows no other time: the bundles from before and after the rotation both verify."""
    replicas.clock.time -= timedelta(days=250)
    (old,) = await replicas.started(1)
    before = await replicas.bundle()
    replicas.clock.time += timedelta(days=250)
    await old.look_again()
    (new,) = await replicas.started(1)
    after = await replicas.bundle()
    assert (len(kept(before)), len(kept(after))) == (1, 2)
    for each in (old, new):
        assert [verifies(each, bundle) for bundle in (before, after)] == ["", ""]


async def test_a_secret_that_was_deleted_is_made_anew_by_one_and_taken_by_all(replicas: Replicas, crds: Cluster):
    """The bundle then names the new authority alone: that is what its owner wanted."""
    found = await replicas.started(3)
    before = await replicas.bundle()
    crds.kubectl("delete", "secret", NAME, "-n", replicas.namespace)
    await asyncio.gather(*(each.look_again() for each in found))
    after = await replicas.bundle()
    assert len(kept(after)) == 1
    assert kept(after) != kept(before)
    for each in found:
        assert verifies(each, after) == ""
        assert "unable to get local issuer" in verifies(each, before)


async def test_a_bundle_that_was_deleted_is_published_again(replicas: Replicas, crds: Cluster):
    """By whichever replica looks first."""
    found = await replicas.started(2)
    before = await replicas.bundle()
    crds.kubectl("delete", "configmap", NAME, "-n", replicas.namespace)
    await asyncio.gather(*(each.look_again() for each in found))
    assert await replicas.bundle() == before


async def test_a_secret_that_was_edited_is_refused_and_named(replicas: Replicas, crds: Cluster):
    """A start says which and what to do; a replica that serves goes on."""
    (serving,) = await replicas.started(1)
    bundle = await replicas.bundle()
    crds.kubectl("patch", "secret", NAME, "-n", replicas.namespace, "-p", '{"stringData": {"tls.key": "c4n4ry"}}')
    with pytest.raises(Refused) as refused:
        await (await replicas.one()).start()
    assert refused.value.reason is Reason.CERTIFICATE_INVALID
    assert f"Secret {replicas.namespace}/{NAME} (OPENSCALE_BYOK_GATEWAY_AUTHORITY)" in refused.value.message
    assert "c4n4ry" not in refused.value.message
    with pytest.raises(Refused):
        await serving.look_again()
    assert verifies(serving, bundle) == ""


async def test_a_client_reads_from_a_gateway_with_the_published_bundle(replicas: Replicas, tmp_path):
    """Listener and authority together: what is in the ConfigMap is all that a client needs."""
    (certificate,) = await replicas.started(1)
    bundle = tmp_path / "ca.crt"
    bundle.write_text(await replicas.bundle())
    api = application(Metrics(), limits=Limits(announce=0))

    async def read(_: web.Request) -> web.Response:
        return web.Response(text="read")

    async def health() -> list[str]:
        return []

    api.add_routes([web.get("/read", read)])
    settings = GatewaySettings(gateway_address="127.0.0.1", gateway_port=0, gateway_health_port=0)
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(api, health, certificate, settings, stop=stop, started=started.set_result))
    ports: Ports = await started
    code = (
        "import ssl, urllib.request as u; import sys;"
        "print(u.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2])).read().decode())"
    )
    reading = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        f"https://localhost:{ports.api}/read",
        str(bundle),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await reading.communicate()
    assert out == b"read\n"
    stop.set()
    await running
