"""`audit verify`: whatever was done to a chain, the first line that it was done to is named."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openscale_byok.adapters.audit_lines import AuditLines
from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.audit_chain import digest, link_of, verify
from openscale_byok.shell.cli import main
from openscale_byok.shell.clock import SystemClock

EVENT = AuditEvent(Action.CREDENTIALS_READ, "success", "alice", kind="DataMart", namespace="shop", name="orders")


@pytest.fixture
def path(tmp_path):
    """A chain of nine lines; the first says that it begins."""
    made = tmp_path / "audit.log"
    lines = AuditLines(SystemClock(), str(made), "operator", chain=True)
    for _ in range(8):
        lines.write(EVENT)
    lines.close()
    return made


def run(*arguments: str | Path) -> Result:
    """`openscale-byok audit verify`."""
    return CliRunner().invoke(main, ["audit", "verify", *map(str, arguments)])


def forged(lines: list[bytes], at: int) -> list[bytes]:
    """A line changed, and every later one made to fit."""
    made = lines[: at - 1]
    for line in [lines[at - 1].replace(b"orders", b"orderz"), *lines[at:]]:
        link = link_of(line)
        assert link is not None
        fits = digest(made[-1]) if made else ""
        made.append(line.replace(b'"previous":"%s"' % link.previous.encode(), b'"previous":"%s"' % fits.encode()))
    return made


TAMPERED = {
    "a value changed": (5, lambda x: [*x[:4], x[4].replace(b"orders", b"orderz"), *x[5:]]),
    "the first changed": (1, lambda x: [x[0].replace(b"success", b"failure"), *x[1:]]),
    "a digest changed": (5, lambda x: [*x[:4], x[4].replace(b'"previous":"', b'"previous":"0'), *x[5:]]),
    "a number changed": (5, lambda x: [*x[:4], x[4].replace(b'"sequence":5', b'"sequence":4'), *x[5:]]),
    "a line removed": (5, lambda x: [*x[:4], *x[5:]]),
    "three lines removed": (3, lambda x: [*x[:2], *x[5:]]),
    "the first removed": (1, lambda x: x[1:]),
    "two swapped": (4, lambda x: [*x[:3], x[4], x[3], *x[5:]]),
    "a line twice": (5, lambda x: [*x[:4], x[3], *x[4:]]),
    "one put in": (5, lambda x: [*x[:4], b'{"action":"x"}\n', *x[4:]]),
    "an empty one put in": (5, lambda x: [*x[:4], b"\n", *x[4:]]),
    "a line cut": (5, lambda x: [*x[:4], x[4][:40] + b"\n", *x[5:]]),
    "the last cut": (9, lambda x: [*x[:8], x[8][:40]]),
    "not text": (5, lambda x: [*x[:4], b"\xff\xfe\x00{\n", *x[5:]]),
    "deep": (5, lambda x: [*x[:4], b'{"a":' * 20_000 + b"\n", *x[5:]]),
    "another chain after it": (6, lambda x: [*x[:5], *x]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_the_first_line_that_is_not_as_it_was_written_is_named(path, name):
    """Changed, removed, moved, put in or cut: exit code 3, and its number."""
    at, tamper = TAMPERED[name]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(tamper(lines)))
    result = run(path)
    assert result.exit_code == 3
    assert f"{path}, line {at}: " in result.output


UNSEEN = {
    "the last removed": lambda x: x[:-1],
    "all after the third removed": lambda x: x[:3],
    "the last changed": lambda x: [*x[:8], x[8].replace(b"orders", b"orderz")],
    "forged from the fourth on": lambda x: forged(x, 4),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_only_a_digest_that_was_noted_shows_what_was_done_at_the_end(path, name):
    """Without it nothing is seen; with it, it is."""
    lines = path.read_bytes().splitlines(keepends=True)
    head = verify(lines).head.digest
    assert run(path, "--expect", head).exit_code == 0
    path.write_bytes(b"".join(UNSEEN[name](lines)))
    assert run(path).exit_code == 0
    result = run(path, "--expect", head)
    assert result.exit_code == 3
    assert head in result.output


def test_a_chain_that_is_whole_is_said_to_be(path):
    """Its number of lines, and the digest to note; that one is also what `sha256sum` says of the last line."""
    lines = path.read_bytes().splitlines()
    result = run(path)
    assert result.exit_code == 0
    assert result.output == f"OK: 9 lines, head {digest(lines[-1])}\n"


def test_a_digest_of_yesterday_is_found_in_a_file_that_grew(path):
    """Any line's will do."""
    lines = path.read_bytes().splitlines()
    assert run(path, "--expect", digest(lines[4]).upper()).exit_code == 0


def test_several_files_are_one_chain(path, tmp_path):
    """As log rotation leaves them; a file that is missing in between is noticed, and named as it is there."""
    lines = path.read_bytes().splitlines(keepends=True)
    files = [tmp_path / name for name in "abc"]
    for number, file in enumerate(files):
        file.write_bytes(b"".join(lines[number * 3 : number * 3 + 3]))
    assert "OK: 9 lines" in run(*files).output
    missing = run(files[0], files[2])
    assert (missing.exit_code, f"{files[2]}, line 1: " in missing.output) == (3, True)
    assert run(*files[1:], "--after", digest(lines[2])).exit_code == 0
    assert run(*files[1:], "--after", digest(lines[1])).exit_code == 3
    assert run(*files[1:]).exit_code == 3


@pytest.mark.parametrize("raw", [b"", b"no chain\n", b"{}\n", b"[1]\n"])
def test_no_chain_is_not_well(path, raw):
    """A file without a single link is no proof of anything, and is told to be none."""
    path.write_bytes(raw)
    result = run(path)
    assert result.exit_code == 3
    said = "of 1 lines none is a link of a chain: nothing can be verified" if raw else "there is no line"
    assert f"{path}: {said}" in result.stdout
    assert ("OPENSCALE_BYOK_AUDIT_CHAIN=true" in result.stdout) == bool(raw)


def test_as_json_it_is_one_document(path):
    """The head to note, or the place of the first line that is wrong."""
    lines = path.read_bytes().splitlines(keepends=True)
    said = json.loads(run(path, "--output=json").stdout)
    assert said == {"outcome": "success", "lines": 9, "head": digest(lines[-1]), "unchained": 0, "began": []}
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    said = json.loads(run(path, "--output=json").stdout)
    assert (said["outcome"], said["file"], said["line"]) == ("incomplete", str(path), 4)


@pytest.mark.parametrize("text", ["", "abc", "g" * 64])
def test_a_digest_that_is_none_is_wrong_usage(path, text):
    """Exit code 2: nothing was looked at."""
    assert run(path, "--expect", text).exit_code == 2
