"""What one exchange with the API server repeats, and what it never does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client

from openscale_byok.adapters.api_server import ApiServer
from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.errors import Unavailable

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """An API server that says this once a connection is warm, and counts what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.asked: Counter[str] = Counter()
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().lower().splitlines()
                length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length")), 0)
                await reader.readexactly(length)
                method = head.split(b" ", 1)[0].decode()
                self.asked[method] += 1
                good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
                writer.write(good if method == "PUT" else self._answer)
                if method != "PUT" and not self._answer:
                    break
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def asked(request, tmp_path, monkeypatch) -> AsyncIterator[tuple[Server, ApiServer]]:
    """A server that answers this, and a connection to it that is warm."""
    server = Server(request.param)
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG.format(port=await server.start()))
    monkeypatch.setattr("kubernetes.aio.config.load_incluster_config", _not_in_a_pod)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    async with ApiServer.connect(4) as api:
        await api.call("PUT", "/warm")
        yield server, api
    await server.end()


@pytest.fixture
async def queued(tmp_path, monkeypatch) -> AsyncIterator[tuple[Server, ApiServer, FairQueue]]:
    """A connection whose one turn is given out by the test, with a twentieth of a second to begin soon in."""
    server, turns = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), FairQueue(1)
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG.format(port=await server.start()))
    monkeypatch.setattr("kubernetes.aio.config.load_incluster_config", _not_in_a_pod)
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    async with ApiServer.connect(4, turns, begins_soon=0.05) as api:
        yield server, api, turns
    await server.end()


def _not_in_a_pod(**_: client.Configuration) -> None:
    from kubernetes.aio.config import ConfigException

    raise ConfigException("no pod")


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(b"", id="the connection breaks"),
        pytest.param(BUSY, id="429 with Retry-After"),
    ],
    indirect=True,
)
async def test_a_delete_is_sent_once(asked):
    """Neither we nor the HTTP client below us send it a second time; a read is tried again."""
    server, api = asked
    with pytest.raises(Unavailable):
        await api.call("DELETE", "/api/v1/namespaces/n/secrets/s", {"kind": "DeleteOptions"})
    assert server.asked["DELETE"] == 1
    with pytest.raises(Unavailable):
        await api.call("GET", "/api/v1/namespaces/n/secrets/s")
    assert server.asked["GET"] == 2


SECRET = "/api/v1/namespaces/n/secrets/s"


async def test_a_delete_that_waits_for_a_turn_is_not_sent_later(queued):
    """What makes it right to delete was seen just before: while others have all turns it gives up and sends nothing."""
    server, api, turns = queued
    async with turns.turn("other"):
        with pytest.raises(Unavailable):
            await api.call("DELETE", SECRET, {"kind": "DeleteOptions"})
        with pytest.raises(Unavailable):
            await api.patch(SECRET, {}, soon=True)
    await asyncio.sleep(0)
    assert not server.asked
    assert turns.free == 1, "who gave up has no turn"
    await api.call("DELETE", SECRET, {"kind": "DeleteOptions"})
    assert server.asked["DELETE"] == 1


async def test_what_may_wait_for_its_turn_waits(queued):
    """An ordinary write is sent when its turn comes, however late that is."""
    server, api, turns = queued
    async with turns.turn("other"):
        write = asyncio.ensure_future(api.patch(SECRET, {}))
        with pytest.raises(Unavailable):
            await api.call("DELETE", SECRET)  # so that time goes by
        assert not write.done()
    await write
    assert server.asked == {"PATCH": 1}
