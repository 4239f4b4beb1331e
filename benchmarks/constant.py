"""The floor of `reads.py`: aiohttp with TLS as the gateway has it, and a route that answers a constant. A process.

Reads one JSON object from standard input (PEM certificate, PEM key, body, headers), prints its port, and serves
until standard input ends.
"""

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

from openscale_byok.adapters.tls import server_context


async def serve(order: dict[str, Any]) -> None:
    """Answer every request with the body; no middleware, no check, no line."""
    body, headers = order["body"].encode(), order["headers"]

    async def constant(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", constant)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = server_context(order["certificate"].encode(), order["key"].encode())
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.stdin.readline())))
