"""The agent's stories on the real gateway: real API server, real root key, the chart's rights."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from openscale_byok.shell.agent.asking import Door
from stage.gateway_process import Gateway
from stage.scene import Scene
from stage.team import Team, Vault

sys.path.append(str(Path(__file__).parents[1]))

from agent.stories import AgentStories, There

READ = "get datamartcredentials"


@pytest.fixture(scope="module")
def gateway(scene: Scene, vault: Vault) -> Iterator[Gateway]:
    """A gateway whose port stays when it is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with scene.gateway("gateway-of-agents", GATEWAY_PORT=port) as started:
        yield started
    vault.look("the gateway's log", started.log.read_text())
    assert not vault.leaks


class TestStories(AgentStories):
    """The gateway itself."""

    @pytest.fixture
    def there(self, gateway: Gateway, team: Team, tmp_path: Path) -> There:
        """One data mart under a root key of the team's own, and a ServiceAccount that may read it."""
        (key,) = team.root_keys()
        team.instance()
        team.bind("a", key)
        team.marts("scores")
        team.until_protected(key)
        ca_file, token_file = tmp_path / "ca.crt", tmp_path / "token"
        ca_file.write_text(team.scene.gateway_authority())
        token = team.caller("reader", f"{READ}/scores")
        token_file.write_text(token)
        path = f"/v1/namespaces/{team.namespace}/datamarts/scores/credentials"

        def answers(status: int) -> bool:
            return gateway.call("GET", path, token).status == status

        def until(act: Callable[[], object], status: int) -> Callable[[], Awaitable[None]]:
            """Do something, and return once the gateway answers with this status."""

            async def done() -> None:
                await asyncio.to_thread(act)
                await asyncio.to_thread(team.until, lambda: answers(status), f"the gateway answers {status}")

            return done

        async def change(password: str) -> None:
            team.vault.add(password)
            team.passwords["scores"] = password
            await asyncio.to_thread(team.patch, "Secret", "scores-db", {"stringData": {"password": password}})
            await asyncio.to_thread(
                team.until,
                lambda: gateway.call("GET", path, token).json.get("password") == password,
                "the gateway hands out the new password",
            )

        def restore() -> None:
            team.scene.emulator.enable(key, ignore_timing=True)

        def allow() -> None:
            subject = {"kind": "ServiceAccount", "name": "reader", "namespace": team.namespace}
            team.grant("again", subject, f"{READ}/scores")

        async def leave() -> None:
            assert await asyncio.to_thread(gateway.stop) == 0

        async def come_back() -> None:
            gateway.launch()  # by this very thread: the kernel ends it with the thread that started it
            await asyncio.to_thread(gateway.await_started)

        return There(
            Door(gateway.url, ca_file, token_file, 5.0), team.namespace, "scores",
            lambda: team.passwords["scores"], change,
            until(lambda: team.scene.emulator.disable(key), 403), until(restore, 200),
            until(lambda: team.delete("RoleBinding", "reader"), 403), until(allow, 200),
            leave, come_back,
        )  # fmt: skip
