"""The floor: how fast a bare client writes the same patches. A process of its own, as the operator is.

Reads one JSON object from standard input (url, CA, token, concurrency, and a list of [path, patch]) and
prints the seconds that it took.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import aiohttp


async def write(order: dict[str, Any]) -> float:
    """Send every patch, so many in flight; the seconds it took."""
    context = ssl.create_default_context(cafile=order["ca"])
    headers = {"Authorization": f"Bearer {order['token']}", "Content-Type": "application/merge-patch+json"}
    connector = aiohttp.TCPConnector(limit=order["concurrency"], ssl=context)
    waiting = iter(order["patches"])

    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:

        async def serve() -> None:
            for path, patch in waiting:
                async with session.patch(order["url"] + path, data=json.dumps(patch)) as answer:
                    json.loads(await answer.read())
                    if answer.status != 200:
                        raise RuntimeError(f"status {answer.status}")

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(order["concurrency"]):
                group.create_task(serve())
        return time.perf_counter() - began


if __name__ == "__main__":
    print(asyncio.run(write(json.load(sys.stdin))))
