"""Lines of the libraries around us: one line of JSON each, and nothing that an exception quotes."""

import json
import logging
import sys

import pytest
import structlog

from openscale_byok.shell import logs

CANARY = "c4n4ry"


@pytest.fixture
def configured():
    """Logging set up as the operator does it, and put back afterwards."""
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = root.handlers[:], root.level, kopf.level
    root.handlers = []
    logs.configure("debug")
    yield root.handlers[0]
    root.handlers, level, kopf_level = before
    root.setLevel(level)
    kopf.setLevel(kopf_level)
    structlog.reset_defaults()


def record(**more) -> logging.LogRecord:
    """A record of a library."""
    return logging.LogRecord("kopf", logging.ERROR, "f.py", 1, "it failed", (), None, **more)


def test_an_exception_is_named_and_never_printed(configured):
    """Neither its text nor its traceback: both may quote what a local variable held."""
    found = record()
    try:
        {}[CANARY]
    except KeyError:
        found.exc_info = sys.exc_info()
    found.exc_text, found.stack_info = CANARY, CANARY
    line = configured.formatter.format(found)
    said = json.loads(line)
    assert (said["event"], said["error"], said["logger"], said["level"]) == (
        "it failed",
        "KeyError",
        "kopf",
        "error",
    )
    assert CANARY not in line
    assert "Traceback" not in line


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "x" * 5_000, "%s"])
def test_a_record_is_one_short_line(configured, text):
    """Whatever it says: one line of JSON, cut at 500 characters."""
    found = record()
    found.msg = text
    line = configured.formatter.format(found)
    assert "\n" not in line
    assert json.loads(line)["event"] == text[:500]
    assert "error" not in json.loads(line)


def test_libraries_speak_from_warning_on(configured):
    """Whatever level is asked for: kopf logs whole objects below it."""
    for name in ("kopf", "kopf.objects", "aiohttp.client", "kubernetes"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger(name).isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
    ("logger", "text", "level"),
    [
        ("kopf._core.observation", "Request attempt #1/9 failed; will retry: GET https://h -> E()", "warning"),
        ("kopf.objects", "Request attempt #2/9 failed; TCP closed; will re-authenticate: GET https://h", "warning"),
        ("kopf.objects", "Request attempt #9/9 failed; escalating: GET https://h/apis -> E()", "error"),
        ("kopf.objects", "it failed; who will retry?", "error"),
        ("another", "Request attempt #1/9 failed; will retry: GET https://h/apis -> E()", "error"),
    ],
)  # fmt: skip
def test_what_is_tried_again_is_no_error_yet(configured, logger, text, level):
    """kopf says `error` of each try; an alarm on errors would ring at every blink of the API server."""
    found = record()
    found.name, found.msg = logger, text
    assert json.loads(configured.formatter.format(found))["level"] == level


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"), ("two words", '"two words"'), ('a"b', '"a\\"b"'), ("a=b", '"a=b"'), ("", '""'),
        (True, "true"), (1.5, "1.5"), (None, "null"),
        ("x\nlevel=error", '"x\\nlevel=error"'), ("\u202ex", '"\\u202ex"'),
        ("\x1b[2J", '"\\u001b[2J"'), ({"a": 1}, '"{\\"a\\": 1}"'),
    ],
    ids=range(12),
)  # fmt: skip
def test_as_text_a_value_is_one_word_of_one_line(value, shown):
    """Nothing that a value holds begins a line, ends its own word, or turns what stands beside it round."""
    line = logs.as_text(None, "", {"event": "e", "level": "info", "timestamp": "t", "name": value})
    assert line == f"t info    e name={shown}"


def test_as_text_an_event_is_one_line_too(configured):
    """A library's message may hold anything."""
    logs.configure("info", "text")
    found = record()
    found.msg = "two\nlines"
    line = logging.getLogger().handlers[0].formatter.format(found)
    assert "\n" not in line
    assert line.endswith(' error   "two\\nlines" logger=kopf')
