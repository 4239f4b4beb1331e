"""Which of the namespaces that a setting names are served: those where our rights are.

A Role goes with its namespace, and a watch that is refused ends the process. So one namespace that is gone, or is still
to come, must not keep the others from being served: it is left out at the start, said, and asked about again.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from openscale_byok.engine.context import log
from openscale_byok.errors import ByokError, Refused
from openscale_byok.reasons import Reason

LOOK_SECONDS = 10.0
_SETTING = "OPENSCALE_BYOK_NAMESPACES"


class Asked(Protocol):
    """What knows our rights."""

    async def may_serve(self, namespace: str) -> bool:
        """Whether we may list and watch our kinds there."""
        ...


async def granted(asked: Asked, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those of the namespaces that can be served; each other one is said.

    Raises:
        Refused: none can be.
        Unavailable: the API server cannot be reached.
    """
    found = tuple([one for one in namespaces if await asked.may_serve(one)])
    for one in namespaces:
        if one not in found:
            log.warning(
                "namespace not served", namespace=one, message=f"{_SETTING}: no rights there (any more, or yet)"
            )
    if namespaces and not found:
        text = f"{_SETTING}: no rights in any of these: {', '.join(namespaces)}; grant the chart's Roles there"
        raise Refused(Reason.SECRET_FORBIDDEN, text)
    return found


async def until_granted(asked: Asked, withheld: Sequence[str], seconds: float = LOOK_SECONDS) -> None:
    """Wait until one of those that were left out can be served; for ever where none was."""
    while True:
        for one in withheld:
            try:
                if await asked.may_serve(one):
                    log.info("ending, to be started anew with another namespace", namespace=one)
                    return
            except ByokError:
                break  # the API server is away: others say so
        await asyncio.sleep(seconds)
