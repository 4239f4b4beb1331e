"""Notices that the cluster was put back to an earlier state under us, while nothing else would ask it.

kopf's watches do not: they ask for what comes after the last version that they saw, and an API server whose
etcd was restored waits until it has come so far again. Meanwhile they hear nothing, and report nothing.
"""

import asyncio
from collections.abc import Callable

from openscale_byok.engine.context import Context
from openscale_byok.engine.scope import forward
from openscale_byok.errors import ByokError

LONGEST_SILENCE_SECONDS = 1.0
"""Between two tries while the API server does not answer: whoever restores it takes it away first."""


class Lookout:
    """Asks the cluster's version again and again.

    Args:
        context: its store is asked.
        known: the newest version of an instance that this process has seen; read before each question.
    """

    def __init__(self, context: Context, known: Callable[[], int]) -> None:
        self._context = context
        self._known = known
        self._seen = 0

    async def serve(self) -> None:
        """Look until cancelled.

        Raises:
            WentBack: the cluster is older than what was seen of it.
        """
        interval = self._context.tuning.lookout_seconds
        while True:
            answered = await self.look()
            await asyncio.sleep(interval if answered else min(interval, LONGEST_SILENCE_SECONDS))

    async def look(self) -> bool:
        """One look; whether there was an answer."""
        before = max(self._seen, self._known())
        try:
            self._seen = forward(before, await self._context.store.version())
        except ByokError:
            return False
        return True
