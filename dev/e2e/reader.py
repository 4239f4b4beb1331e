"""Runs in a pod: reads a data mart's credentials all the time, as honest clients do, and counts what failed.

python3 -c THIS URL. No read is tried again: each that fails is counted. Half of the readers keep their connection, and
half make a new one for each read. Each second a line of JSON: reads, failures by what they were, and who signed the
gateway's certificate. The certificates to trust are read again when their file changes, as a service mesh would.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from pathlib import Path

import aiohttp
from yarl import URL

READERS = 4
PAUSE_SECONDS = 0.2
TIMEOUT = aiohttp.ClientTimeout(total=20)
TOKEN = Path("/var/run/secrets/openscale-byok/token")
AUTHORITIES = Path("/var/run/openscale-byok-ca/ca.crt")

reads: Counter[str] = Counter()
failures: Counter[str] = Counter()
issuers: Counter[str] = Counter()


class Trust:
    """A TLS context of the authorities in the file as it is now."""

    def __init__(self) -> None:
        self._text = ""
        self._context = ssl.create_default_context()

    def context(self) -> ssl.SSLContext:
        """The same one until the file changes: a kept connection is kept under it."""
        text = AUTHORITIES.read_text()
        if text != self._text:
            self._text, self._context = text, ssl.create_default_context(cadata=text)
        return self._context


async def read(session: aiohttp.ClientSession, trust: Trust, url: str) -> None:
    """One read; it is counted."""
    headers = {"Authorization": f"Bearer {TOKEN.read_text()}"}  # noqa: ASYNC240 -- in memory
    try:
        async with session.get(url, ssl=trust.context(), headers=headers) as answer:
            password = (await answer.json()).get("password") if answer.status == 200 else None
            if password:
                reads["good"] += 1
            else:
                failures[f"status {answer.status}"] += 1
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        failures[f"{type(error).__name__}: {error}"[:120]] += 1


async def reader(url: str, trust: Trust, *, keep: bool) -> None:
    """Read for ever."""
    connector = aiohttp.TCPConnector(force_close=not keep)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        while True:
            await read(session, trust, url)
            await asyncio.sleep(PAUSE_SECONDS)


async def look(url: str, trust: Trust) -> None:
    """Who signs the certificate of a connection that is made now; one that fails is counted as a read would be."""
    at = URL(url)
    try:
        _, writer = await asyncio.open_connection(at.host, at.port, ssl=trust.context())
        issuers[str(writer.get_extra_info("peercert")["issuer"])] += 1
        writer.close()
    except (OSError, ssl.SSLError) as error:
        failures[f"connecting: {type(error).__name__}: {error}"[:120]] += 1


async def main(url: str) -> None:
    """Start the readers, and say what they count."""
    trust = Trust()
    tasks = [asyncio.create_task(reader(url, trust, keep=bool(number % 2))) for number in range(READERS)]
    while not any(task.done() for task in tasks):
        await asyncio.sleep(1)
        await look(url, trust)
        print(json.dumps({"reads": reads["good"], "failures": failures, "issuers": issuers}), flush=True)
    for task in tasks:
        if task.done():
            task.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
