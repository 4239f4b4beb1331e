"""Exact counts of the customer API's calls, and a short log of them without bodies and tokens."""

from collections import Counter, defaultdict, deque
from typing import Any

LOG_LENGTH = 1_000


class Counts:
    """A call counts in `operations` when it arrives, in `statuses` when it is answered (or "dropped")."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.operations: Counter[str] = Counter()
        self.keys: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.identities: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def arrived(self, operation: str, key: str | None) -> None:
        self.operations[operation] += 1
        if key:
            self.keys[key][operation] += 1

    def answered(self, operation: str, status: int | str, identity: str | None) -> None:
        self.statuses[operation][str(status)] += 1
        if identity:
            self.identities[identity][operation] += 1

    def report(self) -> dict[str, Any]:
        return {
            "total": self.operations.total(),
            "operations": dict(sorted(self.operations.items())),
            "keys": {key: dict(sorted(counter.items())) for key, counter in sorted(self.keys.items())},
            "statuses": {op: dict(sorted(counter.items())) for op, counter in sorted(self.statuses.items())},
            "identities": {who: dict(sorted(counter.items())) for who, counter in sorted(self.identities.items())},
        }


class RequestLog:
    """The last calls: what was asked for, by whom, and what came of it."""

    def __init__(self) -> None:
        self.entries: deque[dict[str, Any]] = deque(maxlen=LOG_LENGTH)

    def add(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
