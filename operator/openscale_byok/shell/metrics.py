"""What a program of ours counts, in Prometheus' text format; what operator and gateway share.

Labels are few and ours. The process's own metrics (process_*, python_gc_*) come along under the names that every
dashboard knows.
"""

import platform

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)

from openscale_byok import __version__
from openscale_byok.ports.observers import KeySeen

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ProgramMetrics:
    """The metrics of a program; also a `ports.observers.KeyObserver`, which counts looks at root keys."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        build = Gauge("openscale_byok_build_info", "Always 1.", ["version", "python_version"], registry=self.registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._looks = Counter(
            "openscale_byok_key_looks_total",
            "Looks at root keys, once for each binding, by whether it is usable: True, False or Unknown.",
            ["usable"],
            registry=self.registry,
        )
        self._dropped = Counter(
            "openscale_byok_data_keys_dropped_total",
            "Unwrapped data keys that were forgotten before their time.",
            registry=self.registry,
        )
        self.loop_silence = Gauge(
            "openscale_byok_event_loop_silence_seconds",
            "Since the event loop turned last, as the thread of the health port counts it.",
            registry=self.registry,
        )
        for usable in ("True", "False", "Unknown"):
            self._looks.labels(usable)

    def key_seen(self, seen: KeySeen) -> None:
        """See `ports.observers.KeyObserver`."""
        self._looks.labels(seen.usable).inc()

    def data_keys_dropped(self, holder: str, number: int) -> None:  # noqa: ARG002 -- a uid is no label
        """See `ports.observers.KeyObserver`."""
        self._dropped.inc(number)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)
