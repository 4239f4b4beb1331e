"""Audit lines: what is in them, that each is written or refused, and a chain that goes on after whatever happened."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from openscale_byok.adapters.audit_lines import LONGEST, AuditLines
from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.audit_chain import verify
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason

EVENT = AuditEvent(
    Action.CREDENTIALS_READ,
    "denied",
    "system:serviceaccount:shop:web",
    by="kubernetes",
    kind="DataMart",
    namespace="shop",
    name="orders",
    belongs_to="OpenScaleInstance/prod",
    source="10.0.0.7",
    reason="KeyDisabled",
    root_key="crn:v1:bluemix",
    data_key="k",
    trace="t-1",
    transaction="x-1",
)
BARE = AuditEvent(Action.SHREDDED, "success", "openscale-byok")


class Clock:
    """Always the same time."""

    def now(self) -> datetime:
        return datetime(2026, 11, 24, 12, 0, 0, 123_456, UTC)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def path(tmp_path):
    """The audit's file, which is not there yet."""
    return tmp_path / "audit.log"


def opened(path: Path | str, **options) -> AuditLines:
    """A new process, as it were."""
    return AuditLines(Clock(), str(path), "operator", **options)


def found(path: Path) -> list[dict]:
    """Each line of the file."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def chain(*paths: Path, **options):
    """What a look at these files comes to."""
    return verify((line for path in paths for line in BytesIO(path.read_bytes())), **options)


# What is in a line ------------------------------------------------------------------------------------------


def test_a_line_has_cadf_s_names(path):
    """Who, by whose word, from where, did what to what, with which outcome, under which keys."""
    opened(path).write(EVENT)
    (line,) = found(path)
    assert line.pop("id").endswith("-1")
    assert line.pop("observer").keys() == {"name", "host"}
    assert line == {
        "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
        "eventType": "activity",
        "eventTime": "2026-11-24T12:00:00.123Z",
        "action": "datamart.credentials/read",
        "outcome": "denied",
        "reason": {"reasonCode": "KeyDisabled"},
        "initiator": {"id": EVENT.who, "by": "kubernetes", "host": {"address": "10.0.0.7"}},
        "target": {"kind": "DataMart", "namespace": "shop", "name": "orders", "belongsTo": "OpenScaleInstance/prod"},
        "rootKey": "crn:v1:bluemix",
        "dataKey": "k",
        "correlationId": "t-1",
        "transactionId": "x-1",
    }


def test_the_example_in_the_docs_is_a_line(path):
    """docs/audit.md shows what is written, in the order in which it is."""
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    shown = json.loads(page.split("```json\n")[1].split("\n")[0])
    target = shown["target"]
    event = AuditEvent(
        Action(shown["action"]),
        shown["outcome"],
        shown["initiator"]["id"],
        kind=target["kind"],
        namespace=target["namespace"],
        name=target["name"],
        belongs_to=target["belongsTo"],
        root_key=shown["rootKey"],
        data_key=shown["dataKey"],
    )
    opened(path).write(event)
    (line,) = found(path)
    assert list(line) == list(shown)
    assert {**line, "id": "", "observer": ""} == {**shown, "id": "", "observer": ""}


def test_what_is_empty_is_left_out(path):
    """A field that is there has something to say."""
    opened(path).write(BARE)
    (line,) = found(path)
    assert set(line) == {"typeURI", "eventType", "id", "eventTime", "action", "outcome", "initiator", "observer"}


@pytest.mark.parametrize("text", ["a\nb", "a\r\u2028\x00b", '"},{"', "\ud800", "é" * 10_000])
def test_no_value_breaks_a_line(path, text):
    """Whatever a caller calls itself: one line, of ASCII, and of bounded length."""
    opened(path).write(replace(EVENT, who=text, transaction=text))
    raw = path.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    assert len(raw) < 20_000
    (line,) = found(path)
    assert line["initiator"]["id"][: LONGEST - 1] == text[: LONGEST - 1]
    assert len(line["initiator"]["id"]) <= LONGEST


def test_the_file_is_its_owner_s(path):
    """Made with mode 0600; what is there is appended to."""
    opened(path).write(EVENT)
    opened(path).write(BARE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(found(path)) == 2


def test_a_line_costs_little(path):
    """It is written for each credential that is read: the best of some rounds is far from a read's own cost."""
    for chained in (False, True):
        lines = opened(path.with_suffix(f".{chained}"), chain=chained)
        lines.write(EVENT)
        best = 1.0
        for _ in range(20):
            begun = time.perf_counter()
            for _ in range(100):
                lines.write(EVENT)
            best = min(best, (time.perf_counter() - begun) / 100)
        assert best < 100e-6, f"{best * 1e6:.1f} µs"


# Written, or refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chained", [False, True])
def test_a_full_device_is_said(chained):
    """ENOSPC: not written, and the text is the same each time."""
    lines = opened("/dev/full", chain=chained)
    for _ in range(2):
        with pytest.raises(Unavailable, match="No space left on device") as refused:
            lines.write(EVENT)
        assert refused.value.reason is Reason.AUDIT_UNAVAILABLE


def test_a_reader_that_went_away_is_said():
    """EPIPE: a log collector that ended takes the audit with it."""
    reading, writing = os.pipe()
    lines = opened("-", stream=writing)
    lines.write(EVENT)
    os.close(reading)
    with pytest.raises(Unavailable):
        lines.write(EVENT)
    os.close(writing)


@pytest.mark.parametrize("chained", [False, True])
def test_a_reader_that_stands_still_is_said(chained):
    """A pipe that nobody empties refuses the line and keeps nobody waiting; what was cut is a line of its own."""
    reading, writing = os.pipe()
    lines = AuditLines(Clock(), "-", "operator", chain=chained, stream=writing)
    written = 0

    def fill() -> None:
        nonlocal written
        while True:
            lines.write(replace(EVENT, who="w" * 512, name="\u20ac" * 512))
            written += 1

    with pytest.raises(Unavailable) as refused:
        fill()
    assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
    assert "nobody reads" in refused.value.message
    with pytest.raises(Unavailable):
        lines.write(EVENT)
    there = os.read(reading, 1 << 20)
    lines.write(BARE)
    os.close(writing)
    with os.fdopen(reading, "rb") as rest:
        there += rest.read()
    whole = [json.loads(line) for line in there.splitlines() if line.endswith(b"}")]
    actions = [line["action"] for line in whole]
    assert (actions.count(EVENT.action.value), actions[-1]) == (written, BARE.action.value)
    assert not chained or verify(BytesIO(there)).fault is None


def test_a_path_that_cannot_be_opened_is_said(tmp_path):
    """At the start, not at the first line."""
    with pytest.raises(Unavailable, match="OPENSCALE_BYOK_AUDIT_FILE"):
        opened(tmp_path / "no" / "such" / "folder")


LIMITED = """
import resource, signal, sys
from test_adapters_audit_lines import EVENT, Unavailable, opened
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lines = opened(sys.argv[1], chain=sys.argv[2] == "True")
lines.write(EVENT)
raw = open(sys.argv[1], "rb").read()
room = int(sys.argv[3]) if int(sys.argv[3]) >= 0 else len(raw.splitlines()[-1])
resource.setrlimit(resource.RLIMIT_FSIZE, (len(raw) + room, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        lines.write(EVENT)
    except Unavailable:
        print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
lines.write(EVENT)
lines.write(EVENT)
"""


@pytest.mark.parametrize("room", [0, 1, 40, 300, -1], ids=["none", "1", "40", "300", "all but the newline"])
@pytest.mark.parametrize("chained", [False, True])
def test_half_a_line_is_refused_and_never_hides_the_next(path, chained, room):
    """Where a file ends in the middle of a line, what comes later begins a new one, and the chain says what was cut."""
    command = [sys.executable, "-c", LIMITED, str(path), str(chained), str(room)]
    folder = str(Path(__file__).parent)
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": folder})
    assert done.stdout.split() == ["refused", "refused"], done.stderr
    whole = [line for line in path.read_bytes().split(b"\n") if line.endswith(b"}}")]
    actions = [json.loads(line)["action"] for line in whole]
    assert actions.count("datamart.credentials/read") == (4 if room < 0 else 3), "but for its newline it is whole"
    if chained:
        seen = chain(path)
        assert (seen.fault, seen.unchained) == (None, 1 if room > 0 else 0)
        assert ("audit/resume" in actions) == (room > 0)


def test_lines_of_many_threads_stay_whole(path):
    """None lost, none in another, one chain."""
    lines = opened(path, chain=True)
    threads = [threading.Thread(target=lambda: [lines.write(EVENT) for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found(path)) == 1_601
    assert chain(path).fault is None


SHARED = """
import sys
from test_adapters_audit_lines import EVENT, opened
lines = opened(sys.argv[1])
for _ in range(500):
    lines.write(EVENT)
"""


def test_two_processes_may_share_a_file_without_a_chain(path):
    """Each line is one append."""
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", SHARED, str(path)]
    running = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": folder}) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(found(path)) == 1_500


def test_a_chain_has_one_writer(path):
    """The second is refused at its start, and named what to do; it may begin once the first has ended."""
    first = opened(path, chain=True)
    with pytest.raises(Unavailable, match="one of its own"):
        opened(path, chain=True)
    first.close()
    opened(path, chain=True).close()


# The chain goes on ------------------------------------------------------------------------------------------


def written(path: Path, number: int = 3, **options) -> None:
    """One run of a process."""
    lines = opened(path, chain=True, **options)
    for _ in range(number):
        lines.write(EVENT)
    lines.close()


def test_a_chain_goes_on_after_a_restart(path):
    """One beginning, numbered through."""
    written(path)
    written(path)
    seen = chain(path)
    assert (seen.lines, seen.fault, seen.began, seen.head.sequence) == (7, None, (1,), 7)
    assert [line["sequence"] for line in found(path)] == list(range(1, 8))


@pytest.mark.parametrize("cut", [1, 2, 50])
def test_a_line_that_a_crash_cut_shows(path, cut):
    """Its bytes stay; the next line names their digest; without that line the file does not verify."""
    written(path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-cut])
    if cut > 1:
        assert chain(path).fault.line == 4
    written(path, 1)
    seen = chain(path)
    assert (seen.fault, seen.unchained) == (None, 0 if cut == 1 else 1)
    assert raw[:-cut] in path.read_bytes(), "nothing is taken away"
    actions = [json.loads(line)["action"] for line in path.read_bytes().split(b"\n") if line.endswith(b"}}")]
    assert ("audit/resume" in actions) == (cut > 1)


def test_a_chain_may_begin_after_other_lines(path):
    """Switched on later: what was there before is vouched for from then on, as it was then."""
    opened(path).write(EVENT)
    opened(path).write(EVENT)
    written(path)
    seen = chain(path)
    assert (seen.fault, seen.began, seen.unchained) == (None, (3,), 2)
    path.write_bytes(path.read_bytes().replace(b"orders", b"0rders", 1))
    assert chain(path).fault.line == 1


def test_a_chain_goes_on_after_a_time_without(path):
    """Switched off and on again."""
    written(path)
    opened(path).write(EVENT)
    written(path)
    seen = chain(path)
    assert (seen.fault, seen.began, seen.unchained) == (None, (1,), 1)


def test_a_long_file_is_read_from_its_end(path):
    """The last link is found over the borders of blocks, whatever comes after it."""
    written(path)
    with path.open("ab") as file:
        for number in range(3_000):
            file.write(b"%d %s\n" % (number, b"x" * (number % 97)))
        file.write(b"y" * 150_000)
    written(path)
    seen = chain(path)
    assert (seen.fault, seen.head.sequence) == (None, 8)


def test_log_rotation_is_followed(path, tmp_path):
    """Renamed or gone, a new file is made, and the chain goes on in it."""
    lines = opened(path, chain=True)
    lines.write(EVENT)
    old = path.rename(tmp_path / "audit.1")
    lines.write(EVENT)
    lines.write(EVENT)
    assert chain(old, path).fault is None
    assert chain(path, after=chain(old).head.digest).fault is None
    assert "not here" in chain(path).fault.text
    path.unlink()
    lines.write(EVENT)
    assert len(found(path)) == 1


def test_another_file_in_the_place_of_a_full_device_is_taken(path, tmp_path):
    """What was refused is not in the chain; what comes after it is, with no restart."""
    lines = opened(path, chain=True)
    lines.write(EVENT)
    kept = path.rename(tmp_path / "kept")
    path.symlink_to("/dev/full")
    with pytest.raises(Unavailable):
        lines.write(EVENT)
    kept.replace(path)
    lines.write(EVENT)
    seen = chain(path)
    assert (seen.fault, seen.head.sequence) == (None, 3)


def test_on_a_standard_stream_each_process_begins_a_chain(tmp_path):
    """It cannot know what was written before; the first line says so."""
    path = tmp_path / "collected"
    for _ in range(2):
        with path.open("ab") as file:
            lines = opened("-", chain=True, stream=file.fileno())
            lines.write(EVENT)
            lines.write(EVENT)
    assert [line["action"] for line in found(path)][::3] == ["audit/begin"] * 2
    assert chain(path, restarts=True).began == (1, 4)
    assert chain(path).fault.line == 4
