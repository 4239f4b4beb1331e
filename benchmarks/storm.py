"""A storm: objects changed one after the other, over so many connections, until standard input or the time ends,
at most so many a second.

A process of its own. Reads an order as one line of JSON from standard input, prints how many changes there were. It
asks this machine and no other.
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
    began, done = time.monotonic(), 0
    connector = aiohttp.TCPConnector(ssl=context, limit=order["connections"])
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:

        async def change() -> None:
            nonlocal done
            while time.monotonic() < until and done < MOST_CHANGES:
                number = next(changes)
                await asyncio.sleep(began + number / order["rate"] - time.monotonic())
                body = json.dumps({"metadata": {"annotations": {"example.org/storm": str(number)}}})
                async with session.patch(order["url"] + next(paths), data=body) as answer:
                    await answer.read()
                    done += answer.status == 200

        tasks = [asyncio.create_task(change()) for _ in range(order["connections"])]
        await asyncio.wait([*tasks, asyncio.create_task(_end_of_input())], return_when=asyncio.FIRST_COMPLETED)
        until = 0.0
        await asyncio.gather(*tasks)
    return done


async def _end_of_input() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    print(asyncio.run(storm(json.loads(sys.stdin.readline()))))
