"""A storm: objects changed one after the other, over so many connections, until the time or the number is over.

A process of its own. Reads an order as JSON from standard input, prints how many changes there were. It asks this
machine and no other.
"""

import asyncio
import json
import ssl
import sys
import time
from itertools import count, cycle
from typing import Any

import aiohttp

MOST_CHANGES = 600_000


async def storm(order: dict[str, Any]) -> int:
    """Annotate each object anew, again and again."""
    paths, changes, until = cycle(order["paths"]), count(1), time.monotonic() + order["seconds"]
    context = ssl.create_default_context(cafile=order["ca"])
    headers = {"Authorization": f"Bearer {order['token']}", "Content-Type": "application/merge-patch+json"}
    done = 0
    connector = aiohttp.TCPConnector(ssl=context, limit=order["connections"])
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:

        async def change() -> None:
            nonlocal done
            while time.monotonic() < until and done < MOST_CHANGES:
                body = json.dumps({"metadata": {"annotations": {"example.org/storm": str(next(changes))}}})
                async with session.patch(order["url"] + next(paths), data=body) as answer:
                    await answer.read()
                    done += answer.status == 200

        async with asyncio.TaskGroup() as group:
            for _ in range(order["connections"]):
                group.create_task(change())
    return done


if __name__ == "__main__":
    print(asyncio.run(storm(json.load(sys.stdin))))
