"""Key Protect and IAM through a proxy, by real sockets: TLS from end to end, with authorities of our own choice."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from conformance.kms import AAD
from conformance.test_kms_key_protect import CREDENTIALS, Secrets
from key_protect_emulator.control import Emulator
from local_cluster.certificates import Authority
from openscale_byok.adapters import http
from openscale_byok.adapters.egress import Way
from openscale_byok.adapters.global_key import GlobalKey
from openscale_byok.adapters.iam import Iam
from openscale_byok.adapters.root_keys import Policy, RootKeyDirectory
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Kms
from openscale_byok.reasons import Reason
from openscale_byok.resources import RootKeyBinding
from stage.connect_proxy import ConnectProxy, connect_proxy
from stage.tls_relay import TlsRelay

KEY_PROTECT, IAM = "kubernetes.default.svc", "kubernetes.default"
"""Names that the servers' certificate has, and that nobody but the proxy can look up."""
USER, CANARY = "someone", "c4n4ry:of-a-proxy"
ENCODED = base64.b64encode(f"{USER}:{CANARY}".encode()).decode()


@dataclass
class Network:
    """IBM behind TLS, and a proxy that is the only way there."""

    emulator: Emulator
    relay: TlsRelay
    proxy: ConnectProxy
    bundle: Path
    folder: Path
    crn: str
    secrets: Secrets

    def way(self, **other: object) -> Way:
        """Through the proxy, trusting the relay's authority; but for what a test says."""
        given: dict[str, object] = {"proxy": self.proxy.url, "ca_bundle": str(self.bundle)}
        return Way(**(given | other))  # type: ignore[arg-type] # its own fields

    def credentials(self, password: str) -> str:
        """The folder of the proxy's credentials, as a Secret's volume has it."""
        folder = self.folder / "credentials"
        folder.mkdir(exist_ok=True)
        (folder / "username").write_text(f"{USER}\n")
        (folder / "password").write_text(password)
        return str(folder)

    def kms(self, session: aiohttp.ClientSession, url: str = f"https://{KEY_PROTECT}") -> Kms:
        iam = Iam(session, f"https://{IAM}")
        none = GlobalKey(None, "byok", "global-key")  # type: ignore[arg-type] # never asked for here
        policy = Policy(default_endpoint=url)
        directory = RootKeyDirectory(session, iam, self.secrets, self.secrets, policy, global_key=none)
        binding = {"metadata": {"namespace": "ns", "name": "b"}, "spec": {"instanceRef": {"name": "i"}}}
        binding["spec"]["rootKey"] = {"crn": self.crn}
        return directory.customer(RootKeyBinding.of(binding), CREDENTIALS)


@pytest.fixture
async def network(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Network]:
    service_id = emulator.create_service_id()
    emulator.grant(service_id, emulator.instance, role="Reader")
    secrets, crn = Secrets(emulator.create_api_key(service_id)), emulator.create_root_key(emulator.instance)
    relay = TlsRelay(tmp_path, emulator.url)
    async with relay.serving():
        address = ("127.0.0.1", int(relay.url.rpartition(":")[2]))
        with connect_proxy({f"{KEY_PROTECT}:443": address, f"{IAM}:443": address}) as proxy:
            yield Network(emulator, relay, proxy, relay.authority, tmp_path, crn, secrets)


async def fails(session: aiohttp.ClientSession, network: Network) -> Unavailable:
    """A look that gets no answer, and says nothing that it must not."""
    with pytest.raises(Unavailable) as failed:
        await network.kms(session).look()
    said = f"{failed.value!r} {failed.value} {failed.value.trace} {failed.value.__cause__}"
    assert "marker" not in said
    assert CANARY not in said
    assert ENCODED not in said
    return failed.value


async def test_everything_goes_through_it_and_names_are_its_to_look_up(network: Network) -> None:
    """IAM and Key Protect are asked by CONNECT alone, under names that nobody here can look up, over a TLS that the
    proxy has no part in; a data key is made and opened that way."""
    async with http.open_session(network.way()) as session:
        kms = network.kms(session)
        data_key, wrapped = await kms.generate(AAD)
        assert await kms.unwrap(wrapped.ciphertext, AAD) == data_key
    assert set(network.proxy.asked) == {f"{KEY_PROTECT}:443", f"{IAM}:443"}
    assert network.proxy.requests == [], "nothing in the clear"


async def test_a_private_authority_is_trusted_by_its_bundle_alone(network: Network) -> None:
    """Without it the proxy's way leads to nobody who is known, and nothing is sent."""
    network.emulator.reset_counts()
    async with http.open_session(network.way(ca_bundle="")) as session:
        failed = await fails(session, network)
    assert failed.message == "kubernetes.default shows a certificate that this operator does not trust"
    assert not network.emulator.counts()


async def test_a_bundle_that_was_renewed_is_read_again(network: Network) -> None:
    """A certificate that is not trusted has the file read once more: no restart is needed for another authority."""
    bundle = network.folder / "bundle.crt"
    other = network.folder / "yet-another"
    other.mkdir()
    bundle.write_bytes(Authority(other).certificate.read_bytes())
    async with http.open_session(network.way(ca_bundle=str(bundle))) as session:
        await fails(session, network)
        bundle.write_bytes(network.bundle.read_bytes())
        await fails(session, network)
        assert (await network.kms(session).look()).version
    async with http.open_session(network.way(ca_bundle=str(bundle))) as session:
        assert (await network.kms(session).look()).version


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 407, 409, 410, 429, 500, 502, 503])
async def test_what_a_proxy_says_by_itself_is_no_answer(network: Network, status: int) -> None:
    """Whatever its status, with a body that looks like Key Protect's: unreachable, never a no, and never repeated."""
    network.proxy.status = status
    async with http.open_session(network.way()) as session:
        failed = await fails(session, network)
    assert failed.reason is Reason.IAM_UNAVAILABLE
    assert failed.message.startswith(
        f"kubernetes.default cannot be reached: the proxy of OPENSCALE_BYOK_PROXY_URL answers {status}"
    )
    assert ("OPENSCALE_BYOK_PROXY_CREDENTIALS" in failed.message) == (status == 407)


async def test_a_proxy_that_is_away(network: Network) -> None:
    """It is named by its setting; its address is nobody's business."""
    async with http.open_session(network.way(proxy="http://127.0.0.1:9")) as session:
        failed = await fails(session, network)
    assert failed.message == "kubernetes.default cannot be reached: the proxy of OPENSCALE_BYOK_PROXY_URL cannot be"


async def test_a_proxy_that_says_nothing_is_waited_for_no_longer_than_anybody(network: Network) -> None:
    """The time for a connection is that for the way through, too."""
    network.proxy.silent = True
    async with http.open_session(network.way(), aiohttp.ClientTimeout(total=10, connect=0.2)) as session:
        assert (await fails(session, network)).reason is Reason.IAM_UNAVAILABLE


async def test_credentials_are_shown_to_the_proxy_alone_and_read_again_after_a_407(network: Network) -> None:
    """A password that was renewed in the Secret counts from the try after the one that was refused."""
    network.proxy.credentials = (USER, CANARY)
    async with http.open_session(network.way(credentials=network.credentials("former"))) as session:
        assert "answers 407" in (await fails(session, network)).message
        network.credentials(CANARY)
        assert "answers 407" in (await fails(session, network)).message
        assert (await network.kms(session).look()).version


async def test_a_host_that_is_excepted_is_asked_directly(network: Network) -> None:
    """Of `direct`: Key Protect's private endpoint beside the cluster, while IAM is behind the proxy."""
    way = network.way(direct=["*.0.0.1"])
    async with http.open_session(way) as session:
        assert (await network.kms(session, network.relay.url).look()).version
    assert set(network.proxy.asked) == {f"{IAM}:443"}


async def test_a_proxy_over_tls(network: Network) -> None:
    """Spoken to over TLS, by the same bundle: its credentials do not cross the network in the clear."""
    own = network.folder / "proxy"
    own.mkdir()
    authority = Authority(own)
    pair = authority.server("proxy")
    other = network.folder / "without-the-proxys.crt"
    other.write_bytes(network.bundle.read_bytes())
    network.bundle.write_bytes(network.bundle.read_bytes() + authority.certificate.read_bytes())
    with connect_proxy(network.proxy.hosts, (USER, CANARY), certificate=(pair.certificate, pair.key)) as proxy:
        way = network.way(proxy=proxy.url, credentials=network.credentials(CANARY))
        async with http.open_session(way) as session:
            assert (await network.kms(session).look()).version
        async with http.open_session(network.way(proxy=proxy.url, ca_bundle=str(other))) as session:
            failed = await fails(session, network)
        assert (
            failed.message
            == "the proxy of OPENSCALE_BYOK_PROXY_URL shows a certificate that this operator does not trust"
        )
        assert set(proxy.asked) == {f"{KEY_PROTECT}:443", f"{IAM}:443"}


async def test_no_proxy_comes_from_the_environment(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may add a variable to the pod by another chart's habit leads no token anywhere."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, network.proxy.url)
    async with http.open_session(Way(ca_bundle=str(network.bundle))) as session:
        await fails(session, network)
    assert network.proxy.asked == []


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "No such file"), ("", "no certificate"), ("c4n4ry:of-a-proxy", "no certificate"), ("folder", "directory")],
    ids=["missing", "empty", "no PEM", "a folder"],
)
async def test_a_bundle_that_cannot_be_read_is_refused_at_the_start(
    tmp_path: Path, content: str | None, cause: str
) -> None:
    """By the name of its setting, with what is wrong; what the file holds is not shown."""
    path = tmp_path / "bundle.crt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(Refused, match=r"^OPENSCALE_BYOK_CA_BUNDLE: .*bundle.crt: ") as refused:
        http.open_session(Way(ca_bundle=str(path)))
    assert cause in refused.value.message
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("username", "password", "cause"),
    [(None, "x", "No such file"), ("u", None, "No such file"), ("", "x", "is empty"), ("a:b", "x", "no colon")],
    ids=["no user name", "no password", "empty", "colon"],
)
async def test_credentials_that_cannot_be_used_are_refused_at_the_start(
    tmp_path: Path, username: str | None, password: str | None, cause: str
) -> None:
    """By the name of their setting and of the file."""
    for name, content in (("username", username), ("password", password)):
        if content is not None:
            (tmp_path / name).write_text(content)
    with pytest.raises(Refused, match=r"^OPENSCALE_BYOK_PROXY_CREDENTIALS: ") as refused:
        http.open_session(Way(proxy="http://127.0.0.1:9", credentials=str(tmp_path)))
    assert cause in refused.value.message
