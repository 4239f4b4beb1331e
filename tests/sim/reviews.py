"""The port `Reviews` in memory: who holds which token and who may do what, as a test changes it."""

import asyncio

from openscale_byok.core.caller import Access, Caller, not_authenticated
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason


class MemoryReviews:
    """An API server's authenticator and authorizer. They count what they are asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Caller] = {}
        self.rules: set[tuple[str, Access]] = set()
        self.signers: dict[str, str] = {}
        """By token: whose signature it carries."""
        self.asked: list[str | tuple[Caller, Access]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.away = False
        self.gate = asyncio.Event()
        """Answers wait until it is set, as it is at first."""
        self.gate.set()

    async def caller(self, token: str) -> Caller:
        """See `ports.Reviews`."""
        await self._think(token)
        if token not in self.tokens:
            raise not_authenticated("nobody holds it")
        return self.tokens[token]

    def signer(self, token: str) -> str:
        """See `ports.Reviews`."""
        return self.signers.get(token, "")

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """See `ports.Reviews`."""
        await self._think((caller, access))
        return (caller.user, access) in self.rules

    async def _think(self, about: str | tuple[Caller, Access]) -> None:
        self.asked.append(about)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if self.away:
            raise Unavailable(Reason.CLUSTER_UNAVAILABLE, "away")
