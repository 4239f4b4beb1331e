"""A gateway's engine fed by kopf, in a process of its own: says what of a fat object can still be reached, and when.

Prints a line of JSON for each moment: when kopf hands the object over, and once the engine has listed it.
"""

import asyncio
import gc
import json
import sys
from typing import Any

from openscale_byok.engine.reader import Reader
from openscale_byok.resources import DataMart
from openscale_byok.shell.app import grounded
from openscale_byok.shell.handlers import serve
from openscale_byok.shell.settings import Settings

LONG, MARK = 10_000, "fatfat"


class Watched:
    """The engine, and a look at all that is reachable each time that the object is seen."""

    def __init__(self, engine: Reader, namespace: str, stop: asyncio.Event) -> None:
        self._engine, self._namespace, self._stop = engine, namespace, stop

    def see(self, kind: str, raw: dict[str, Any], *, gone: bool, listed: bool = False) -> None:
        """As the engine."""
        self._engine.see(kind, raw, gone=gone, listed=listed)
        if kind == DataMart.KIND and raw["metadata"]["namespace"] == self._namespace:
            tell("kopf listed" if listed else "kopf watched")
            if not listed:
                self._stop.set()

    async def serve(self) -> None:
        """As the engine."""
        engine, key = self._engine, (self._namespace, "prod")
        working = asyncio.create_task(engine.serve())
        await engine.until(lambda: key in engine.world.scopes, 60)
        while not (engine.world.scope(key).read and engine.world.scope(key).sealables):  # noqa: ASYNC110 -- no event says so
            await asyncio.sleep(0.01)
        tell("the engine listed")
        await working


def tell(moment: str) -> None:
    """What can be reached now."""
    print(json.dumps({"moment": moment, "kept": kept()}), flush=True)


def kept() -> list[str]:
    """The type and length of each long text with the mark in it, wherever it is held."""
    found, seen, todo = [], set[int](), [*gc.get_objects(), sys._getframe()]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (str, bytes, bytearray)):
            mark = MARK if isinstance(each, str) else MARK.encode()
            if len(each) > LONG and mark in each:
                found.append(f"{type(each).__name__} of {len(each)}")
        else:
            todo += gc.get_referents(each)
    return found


async def main() -> None:
    """Until the object has changed once."""
    stop = asyncio.Event()
    async with grounded(Settings(), "gateway") as ground:
        await serve(Watched(Reader(ground.context), sys.argv[1], stop), stop=stop)


if __name__ == "__main__":
    asyncio.run(main())
