"""The agent's table of answers, its pauses, its targets, and how its files are replaced."""

import os
from pathlib import Path

import pytest

from openscale_byok.shell.agent import files
from openscale_byok.shell.agent.answers import Denied, NoAnswer, Unchanged, judge, pause
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.targets import Manner, Target, WrongTarget, check, parse

SHAPE = b'{"trace": "t", "errors": [{"code": "NotAllowed", "message": "m"}]}'
MANNER = Manner(15, 3600, 0o600, "DB_")


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (304, {}, b"", Unchanged()),
        (403, {"OpenScale-Byok-Revoked": "true"}, SHAPE.replace(b"NotAllowed", b"KeyDisabled"),
         Denied(revoked=True, code="KeyDisabled", trace="")),
        (403, {"OpenScale-Byok-Revoked": "true"}, b"", Denied(revoked=True, code="Revoked", trace="")),
        (403, {"X-Global-Transaction-ID": "t-1"}, SHAPE, Denied(revoked=False, code="NotAllowed", trace="t-1")),
        (403, {"X-Global-Transaction-ID": "a\x1b[0m"}, SHAPE, Denied(revoked=False, code="NotAllowed", trace="")),
        (404, {}, SHAPE, Denied(revoked=False, code="NotAllowed", trace="")),
        (404, {}, b"<html>", NoAnswer("the gateway answers 404")),
        (403, {}, b'{"errors": []}', NoAnswer("the gateway answers 403")),
        (403, {}, b'{"errors": [{"code": "<script>"}]}', NoAnswer("the gateway answers 403")),
        (403, {}, b"[" * 100_000, NoAnswer("the gateway answers 403")),
        (503, {"Retry-After": "7"}, SHAPE, NoAnswer("the gateway answers 503 NotAllowed", retry_after=7.0)),
        (429, {"Retry-After": "99999"}, b"", NoAnswer("the gateway answers 429", retry_after=300.0)),
        (503, {"Retry-After": "nan"}, b"", NoAnswer("the gateway answers 503")),
        (503, {"OpenScale-Byok-Revoked": "true"}, b"", NoAnswer("the gateway answers 503")),
        (401, {}, SHAPE, NoAnswer("the gateway answers 401 NotAllowed")),
        (302, {"Location": "https://elsewhere"}, b"", NoAnswer("the gateway answers 302")),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, headers, body, expected):
    """A clear no is one that the gateway itself says; everything else is no answer."""
    assert judge(status, headers, body, '"tag"') == expected


def test_an_unasked_304_says_nothing():
    """Only who named an ETag can be told that nothing changed."""
    assert isinstance(judge(304, {}, b"", None), NoAnswer)


@pytest.mark.parametrize(
    ("failed", "retry_after", "least", "most"),
    [
        (0, None, 13.5, 16.5), (1, None, 0.75, 1.25), (3, None, 3, 5), (40, None, 45, 75),
        (1, 20.0, 20, 22), (40, 300.0, 300, 330),
    ],
)  # fmt: skip
def test_pauses(failed, retry_after, least, most):
    """An interval give or take a tenth; without an answer a second to four intervals, never before Retry-After."""
    found = [pause(failed, 15.0, retry_after, random) for random in (0.0, 0.5, 1.0)]
    assert [least, most] == pytest.approx([found[0], found[-1]])
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scores=/run/f", Target("own", "scores", Path("/run/f"), Format.JSON)),
        ("team-a/scores=/run/f", Target("team-a", "scores", Path("/run/f"), Format.JSON)),
        ("pgpass:team-a/s.1=/run/a=b:c", Target("team-a", "s.1", Path("/run/a=b:c"), Format.PGPASS)),
    ],
)
def test_targets(text, expected):
    """A format and a namespace may be named; a file may hold any character."""
    assert parse(text, format_=Format.JSON, namespace="own") == expected


@pytest.mark.parametrize(
    "text", ["", "scores", "scores=", "=/f", "a/b/c=/f", "a%2f..=/f", "Scores=/f", "-a=/f", "x:scores=/f", "a?b=/f"]
)
def test_what_is_no_target(text):
    """Nothing that would be another path at the gateway, or no file."""
    with pytest.raises(WrongTarget):
        parse(text, format_=Format.JSON, namespace="own")


def test_a_target_without_a_namespace_says_what_helps():
    """Outside of a pod nobody knows the namespace."""
    with pytest.raises(WrongTarget, match="--namespace"):
        parse("scores=/f", format_=Format.JSON, namespace=None)


@pytest.mark.parametrize(
    ("targets", "manner", "said"),
    [
        (("a=/f", "b=/f"), MANNER, "two targets"),
        (("service:a=/f", "b=/f.ca.crt"), MANNER, "two targets"),
        (("pgpass:a=/f",), Manner(15, 3600, 0o640, "DB_"), "0600"),
        (("a=/f",), Manner(15, 20, 0o600, "DB_"), "--interval"),
    ],
)
def test_what_does_not_go_together(targets, manner, said):
    """Two targets of one file, a password file that libpq would ignore, a file that goes before the next look."""
    found = tuple(parse(one, format_=Format.JSON, namespace="own") for one in targets)
    with pytest.raises(WrongTarget, match=said):
        check(found, manner)


# Files -------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """Who has the former file open reads it to its end; the new one has the new content and permissions at once."""
    file = tmp_path / "f"
    files.write(file, b"former", 0o600)
    with file.open("rb") as reader:
        files.write(file, b"new", 0o640)
        assert reader.read() == b"former"
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [file] == list(tmp_path.iterdir())


def test_what_cannot_be_written_changes_nothing(tmp_path):
    """The former file stays, and nothing of the new one is left."""
    file = tmp_path / "f"
    file.mkdir()
    with pytest.raises(OSError, match=r"f"):
        files.write(file, b"new", 0o600)
    assert [file] == list(tmp_path.iterdir())


def test_no_link_is_followed(tmp_path):
    """Whoever may write to the folder cannot have a password written elsewhere by a link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    folder = tmp_path / "volume"
    folder.mkdir()
    for name in ("f", ".f.openscale-byok-new"):
        (folder / name).symlink_to(elsewhere)
    files.write(folder / "f", b"secret", 0o600)
    assert elsewhere.read_text() == "theirs"
    assert not (folder / "f").is_symlink()


def test_removing_takes_what_lies_beside(tmp_path):
    """What a killed agent left goes with its file, and removing twice is no error."""
    file = tmp_path / "f"
    files.write(file, b"x", 0o600)
    (tmp_path / ".f.openscale-byok-new").write_text("half")
    assert files.remove(file)
    assert not files.remove(file)
    assert not list(tmp_path.iterdir())


def test_age(tmp_path):
    """By the file's time of change; one to come counts as now."""
    file = tmp_path / "f"
    assert files.age(file) is None
    files.write(file, b"x", 0o600)
    os.utime(file, (1, 1))
    assert (files.age(file) or 0) > 1_000_000
    files.touch(file)
    assert (files.age(file) or 0) < 100
    os.utime(file, (2**33, 2**33))
    assert files.age(file) == 0.0
