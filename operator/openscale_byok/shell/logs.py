"""Logs: one event, one line on standard error, JSON or text; third parties only from WARNING on, without tracebacks.

kopf would log whole objects at DEBUG, and a traceback may quote what a local variable held.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

Format = Literal["json", "text"]
_AGAIN = re.compile(r"Request attempt #[0-9/]+ failed;.* will (retry|re-authenticate)")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_Renderer = Callable[[Any, str, MutableMapping[str, Any]], Any]


def as_text(_: object, __: str, fields: MutableMapping[str, Any]) -> str:
    """For people: when, how grave, what, and the rest as ``name=value``. One line, whatever a value holds."""
    rest = dict(fields)
    when, level, event = (str(rest.pop(name, "")) for name in ("timestamp", "level", "event"))
    told = event if event.isprintable() else json.dumps(event)
    return " ".join([when, f"{level:<7}", told, *(f"{name}={_value(value)}" for name, value in rest.items())])


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if re.fullmatch(r'[^\s"=]+', text) and text.isprintable() else json.dumps(text)


class _Line(logging.Formatter):
    """A record of the standard library as one of our lines. Its exception is named, not printed."""

    def __init__(self, render: _Renderer) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = record.getMessage()[:500]
        fields = {
            "event": message,
            "level": _level(record, message),
            "logger": record.name,
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        return str(self._render(None, "", fields))


def _level(record: logging.LogRecord, message: str) -> str:
    """kopf calls each try of a request that it makes again an error: nothing has failed yet."""
    again = record.name.startswith("kopf") and record.levelno == logging.ERROR and _AGAIN.search(message)
    return "warning" if again else record.levelname.lower()


def configure(level: str, format_: Format = "json") -> None:
    """Set up logging for the whole process."""
    render: _Renderer = as_text if format_ == "text" else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(render))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # kopf logs an object's whole body at DEBUG: never below INFO, whatever is asked for.
    logging.getLogger("kopf").setLevel(logging.WARNING)
