"""The agent's health, for the kubelet: ``/livez`` and ``/readyz``. It says names and states, and no secret."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from openscale_byok.shell.agent.keeper import Keeper


@asynccontextmanager
async def serve(keepers: Sequence[Keeper], address: str | None, port: int) -> AsyncIterator[None]:
    """Answer while inside.

    Raises:
        OSError: the port is taken.
    """

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        rows = [
            {"target": str(one.target), "file": str(one.target.file), "there": one.there, "state": one.state.value}
            for one in keepers
        ]
        return web.json_response({"targets": rows}, status=200 if all(one.there for one in keepers) else 503)

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        await site.start()
        yield
    finally:
        await runner.cleanup()
