"""A gateway over real HTTPS that answers what a test tells it, by the contract that the real one keeps."""

import asyncio
import hashlib
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from local_cluster.certificates import Authority

TOKEN = "t0k3n-of-a-serviceaccount"
PASSWORD = "s3cr3t of the data mart"
TRACE = "trace-1"


def error(status: int, code: str, **headers: str) -> web.Response:
    """An error in OpenScale's shape."""
    body = {"trace": TRACE, "errors": [{"code": code, "message": "a sentence"}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(body, status=status, headers={"X-Global-Transaction-ID": TRACE} | named)


def revoked() -> web.Response:
    """What a refused root key looks like."""
    return error(403, "KeyDisabled", OpenScale_Byok_Revoked="true")


@dataclass
class Told:
    """The gateway: `answer` decides; without one it gives `credentials`."""

    folder: Path
    credentials: dict[str, object] = field(
        default_factory=lambda: {
            "hostname": "db.example.com", "port": 5432, "db": "openscale", "username": "openscale",
            "password": PASSWORD, "tls": "Disable", "revision": 1, "schema": "scores", "type": "PostgreSQL",
        }
    )  # fmt: skip
    token: str = TOKEN
    answer: object = None
    """A function that makes a response, or one of the words "hang" and "cut"."""
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Path, If-None-Match, and the status that was answered."""
    port: int = 0

    def __post_init__(self) -> None:
        self._generation = 0
        self._over = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.ca_file = self.folder / "trusted.crt"
        self.token_file = self.folder / "token"
        self.token_file.write_text(self.token)
        self.renew_authority(trusted=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def renew_authority(self, *, trusted: bool) -> None:
        """Another authority signs from the next start on; where it is trusted, the mounted file names it."""
        self._generation += 1
        folder = self.folder / f"authority-{self._generation}"
        folder.mkdir()
        self.authority = Authority(folder)
        self._pair = self.authority.server("gateway")
        if trusted:
            self.trust()

    def trust(self) -> None:
        """The mounted file names the present authority, swapped at once as the kubelet does."""
        beside = self.folder / "trusted.new"
        beside.write_bytes(self.authority.certificate.read_bytes())
        beside.replace(self.ca_file)

    def rotate_token(self, new: str) -> None:
        """The kubelet writes another token, and the former one is refused."""
        self.token = new
        beside = self.folder / "token.new"
        beside.write_text(new + "\n")
        beside.replace(self.token_file)

    async def start(self) -> None:
        self._over = asyncio.Event()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._pair.certificate, self._pair.key)
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._over.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        response = await self._respond(request)
        self.asked.append((request.path, request.headers.get("If-None-Match"), response.status))
        return response

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return error(401, "NotAuthenticated")
        if self.answer == "hang":
            await self._over.wait()
        if self.answer == "cut":
            return await self._cut(request)
        if callable(self.answer):
            made = self.answer()
            assert isinstance(made, web.Response)
            return made
        body = json.dumps(self.credentials).encode()
        tag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
        headers = {"ETag": tag, "Cache-Control": "no-store"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        """Half of a body that says how long it would have been, and then no connection."""
        body = json.dumps(self.credentials).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(body)), "ETag": '"cut"'})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response
