"""Refusals in the audit: counted, never lost; and what always has a line of its own."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openscale_byok.adapters.audit_lines import AuditLines
from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.audit_chain import verify
from openscale_byok.engine.summarised_audit import EVERY_SECONDS, LINES_OF_A_CALLER, SummarisedAudit
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason

STRANGER = AuditEvent(
    Action.REQUEST, "denied", "", name="/v1/x", source="192.0.2.7", reason="NotAuthenticated", transaction="t"
)
KNOWN = AuditEvent(
    Action.CREDENTIALS_READ, "denied", "system:serviceaccount:team:app", "kubernetes", "DataMart", "team", "orders",
    source="192.0.2.7", reason="NotAuthorized",
)  # fmt: skip


class Lines:
    """An audit in memory, and a clock that stands still until it is set."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.full = False
        self.seconds = 0.0

    def write(self, event: AuditEvent) -> None:
        if self.full:
            raise Unavailable(Reason.AUDIT_UNAVAILABLE, "no space")
        self.events.append(event)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 29, tzinfo=UTC)

    @property
    def counts(self) -> list[int]:
        return [event.count for event in self.events]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def audit(lines: Lines) -> SummarisedAudit:
    return SummarisedAudit(lines, lines)


def test_the_first_refusal_has_its_line_then_one_a_minute_with_their_number(audit, lines):
    """Each refusal is in exactly one line; who was quiet for a minute begins anew."""
    for _ in range(1_000):
        audit.write(STRANGER)
    assert lines.events == [STRANGER]
    for minute in range(1, 4):
        audit.settle()
        assert len(lines.events) == minute
        lines.seconds = minute * EVERY_SECONDS
        audit.settle()
        for _ in range(10):
            audit.write(STRANGER)
    assert lines.counts == [1, 999, 10, 10]
    lines.seconds += EVERY_SECONDS
    audit.settle()
    assert sum(lines.counts) == 1_030
    last = lines.events[-1]
    assert (last.action, last.outcome, last.source, last.reason) == (
        Action.REQUEST, "denied", "192.0.2.7", "NotAuthenticated",
    )  # fmt: skip
    assert not last.name, "a number of requests is about no path"
    lines.seconds += EVERY_SECONDS
    audit.settle()
    audit.write(STRANGER)
    assert lines.events[-1] is STRANGER


@pytest.mark.parametrize("outcome", ["success", "failure", "pending"])
def test_whatever_was_not_refused_has_its_own_line(audit, lines, outcome):
    """A thousand of the same are a thousand lines, of strangers and of known callers."""
    event, other = replace(STRANGER, outcome=outcome), replace(KNOWN, outcome=outcome)
    for _ in range(1_000):
        audit.write(event)
        audit.write(other)
    assert lines.events == [event, other] * 1_000


def test_a_known_caller_has_sixty_lines_and_then_their_number(audit, lines):
    """Whom many refusals are about is in the first lines; action and reason of the rest are told apart."""
    for n in range(5_000):
        audit.write(replace(KNOWN, name=f"orders-{n}", source=f"192.0.2.{n % 200}"))
    assert lines.events == [
        replace(KNOWN, name=f"orders-{n}", source=f"192.0.2.{n % 200}") for n in range(LINES_OF_A_CALLER)
    ]
    for _ in range(7):
        audit.write(replace(KNOWN, reason="KeyDisabled"))
    other = replace(KNOWN, who="system:serviceaccount:team:other")
    audit.write(other)
    assert lines.events[-1] == other, "nobody else is counted for it"
    lines.seconds = EVERY_SECONDS
    audit.settle()
    assert [(event.who, event.reason, event.count, event.name, event.source) for event in lines.events[-2:]] == [
        (KNOWN.who, "NotAuthorized", 5_000 - LINES_OF_A_CALLER, "", ""), (KNOWN.who, "KeyDisabled", 7, "", ""),
    ]  # fmt: skip
    lines.seconds = 2 * EVERY_SECONDS
    audit.settle()
    audit.write(KNOWN)
    assert lines.events[-1] is KNOWN, "after a quiet minute"


def test_addresses_are_counted_apart_and_a_network_of_ipv6_together(audit, lines):
    """An IPv4 address for itself; the /64 of an IPv6 address, in which anybody has as many as they like."""
    for n in range(100):
        audit.write(replace(STRANGER, source=f"2001:db8:0:1::{n:x}"))
        audit.write(replace(STRANGER, source="198.51.100.1"))
    audit.settle(all_of_them=True)
    assert [(event.source, event.count) for event in lines.events] == [
        ("2001:db8:0:1::0", 1), ("198.51.100.1", 1), ("2001:db8:0:1::/64", 99), ("198.51.100.1", 99),
    ]  # fmt: skip


def test_however_many_addresses_there_are_lines_and_memory_are_bounded(lines):
    """Beyond so many networks the rest is counted together, in a line without an address; none is lost."""
    audit = SummarisedAudit(lines, lines, most=10)
    for n in range(5_000):
        audit.write(replace(STRANGER, source=f"10.0.{n // 250}.{n % 250}"))
    assert len(audit._callers) == 11
    audit.settle(all_of_them=True)
    assert len(lines.events) == 12
    assert sum(lines.counts) == 5_000
    assert lines.events[-1].source == ""


def test_where_the_audit_cannot_be_written_nothing_is_lost(audit, lines):
    """The first refusal fails, as any line does; a number is tried again."""
    lines.full = True
    with pytest.raises(Unavailable):
        audit.write(STRANGER)
    lines.full = False
    for _ in range(10):
        audit.write(STRANGER)
    lines.full, lines.seconds = True, EVERY_SECONDS
    audit.settle()
    lines.full = False
    audit.settle()
    assert lines.counts == [1, 9]


async def test_the_end_writes_what_was_counted(audit, lines):
    """SIGTERM within the minute."""
    async with audit.running():
        for _ in range(5):
            audit.write(STRANGER)
    assert lines.counts == [1, 4]


def test_the_chain_stays_whole(lines, tmp_path: Path):
    """A line that stands for many is a link like any other, and says how many."""
    file = tmp_path / "audit"
    chained = AuditLines(lines, str(file), "gateway", chain=True)
    audit = SummarisedAudit(chained, lines)
    for n in range(500):
        audit.write(STRANGER)
        if n % 100 == 0:
            audit.write(replace(STRANGER, who="alice", by="kubernetes", kind="DataMart", outcome="success"))
    audit.settle(all_of_them=True)
    chained.close()
    written = file.read_bytes().splitlines(keepends=True)
    assert len(written) == 1 + 1 + 5 + 1
    assert b'"count":499' in written[-1]
    assert verify(written).fault is None
