"""An operator and a gateway for whom a proxy is the only way to IBM; the API server is beside them."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from key_protect_emulator.control import Emulator
from stage.connect_proxy import ConnectProxy, connect_proxy
from stage.loop_thread import entered
from stage.scene import Scene, raise_scene
from stage.team import Team, Vault
from stage.tls_relay import TlsRelay

IBM = "kubernetes.default.svc"
"""A name that the relay's certificate has, and that nobody but the proxy can look up."""
USER, PASSWORD = "someone", "cnry-of-the-proxy"


@dataclass(frozen=True)
class Behind:
    """What runs, and the proxy."""

    scene: Scene
    proxy: ConnectProxy
    relay: TlsRelay


@pytest.fixture(scope="module")
def behind(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """TLS all the way, an authority of our own, credentials in files; and HTTPS_PROXY set, as some habit would."""
    if "OPENSCALE_DEV_KUBECONFIG" in os.environ:
        pytest.skip("a cluster that was lent has one operator already")
    folder = tmp_path_factory.mktemp("p")
    (folder / "username").write_text(USER)
    (folder / "password").write_text(PASSWORD)
    vault.add(PASSWORD)
    with Emulator.start() as emulator:
        relay = TlsRelay(folder, emulator.url)
        with entered(relay.serving()), pytest.MonkeyPatch.context() as patch:
            address = ("127.0.0.1", int(relay.url.rpartition(":")[2]))
            with connect_proxy({f"{IBM}:443": address}, (USER, PASSWORD)) as proxy:
                for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
                    patch.setenv(name, proxy.url)
                with _raised(folder, emulator, proxy, relay) as scene:
                    yield Behind(scene, proxy, relay)
                    vault.look("the operator's log", scene.operator.log.read_text())
                    assert not vault.leaks


def _raised(folder: Path, emulator: Emulator, proxy: ConnectProxy, relay: TlsRelay) -> AbstractContextManager[Scene]:
    settings = {"IAM_URL": f"https://{IBM}", "KEY_PROTECT_URL": f"https://{IBM}", "INSECURE_HTTP": "false"}
    settings |= {"PROXY_URL": proxy.url, "PROXY_CREDENTIALS": str(folder), "CA_BUNDLE": str(relay.authority)}
    settings["KEY_POLL_SECONDS"] = "0.25"
    return raise_scene(folder=folder, postgres=False, settings=settings, emulator=emulator)


def test_all_of_ibm_and_nothing_else_goes_through_it(behind: Behind, vault: Vault) -> None:
    """A password is sealed under a root key and read by the gateway: IBM is asked through the proxy alone, and the
    API server never, not by the watches either."""
    team = Team(behind.scene, vault, behind.scene.namespace("team-proxied"))
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m", handover=True)
    team.until_ready("m")
    team.until_protected(key)
    with behind.scene.gateway() as gateway:
        assert gateway.is_alive
    assert set(behind.proxy.asked) == {f"{IBM}:443"}
    assert behind.proxy.requests == []


def test_a_proxy_that_answers_itself_revokes_nothing(behind: Behind, vault: Vault) -> None:
    """403 and 407 of a proxy are an outage: whether the root key is usable is unknown, and it goes on by itself."""
    team = Team(behind.scene, vault, behind.scene.namespace("team-refused"))
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    for status in (403, 407):
        behind.proxy.status = status
        behind.proxy.cut()
        team.until(lambda: f"answers {status}" in _said(team), f"a proxy that answers {status} is told")  # noqa: B023 -- waited for here
        found = team.condition("RootKeyBinding", "a", "KeyUsable")
        assert (found["status"], found["reason"]) == ("Unknown", "KeyProtectUnavailable")
        assert team.condition("RootKeyBinding", "a", "Stalled").get("status") != "True"
        behind.proxy.status = 200
        team.until_reason("RootKeyBinding", "a", "KeyActive", "KeyUsable")


def _said(team: Team) -> str:
    return str(team.condition("RootKeyBinding", "a", "KeyUsable").get("message", ""))
