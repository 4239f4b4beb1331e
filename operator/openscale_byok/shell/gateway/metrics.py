"""What the gateway counts, in Prometheus' text format. Labels are few and ours: no namespace, no name, no caller.

The process's own metrics (process_*, python_gc_*) come along under the names that every dashboard knows.
"""

import platform

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from openscale_byok import __version__
from openscale_byok.ports import KeySeen

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"})


class Metrics:
    """The gateway's metrics; also a `ports.KeyObserver`, which counts looks at root keys."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        build = Gauge("openscale_byok_build_info", "Always 1.", ["version", "python_version"], registry=self.registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._requests = Counter(
            "openscale_byok_gateway_requests_total",
            "Requests by route and class of status.",
            ["route", "method", "code_class"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "openscale_byok_gateway_request_duration_seconds",
            "From the head's end to the answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
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
        self.connections = Gauge(
            "openscale_byok_gateway_connections", "Connections that are open.", registry=self.registry
        )
        self.turned_away = Gauge(
            "openscale_byok_gateway_connections_turned_away",
            "Connections closed for want of room, since the start.",
            registry=self.registry,
        )
        for usable in ("True", "False", "Unknown"):
            self._looks.labels(usable)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: as it was registered, placeholders and all; never a path that was asked for.
            method: of the request.
            status: of the answer.
            seconds: that it took.
        """
        at = (route, method if method in _METHODS else "other", status // 100)
        found = self._answered.get(at)
        if found is None:
            # As many as there are routes, methods and classes; looking up labels anew costs more than counting.
            counted = self._requests.labels(*at[:2], f"{at[2]}xx")
            found = self._answered[at] = (counted, self._seconds.labels(route))
        found[0].inc()
        found[1].observe(seconds)

    def key_seen(self, seen: KeySeen) -> None:
        """See `ports.KeyObserver`."""
        self._looks.labels(seen.usable).inc()

    def data_keys_dropped(self, holder: str, number: int) -> None:  # noqa: ARG002 -- a uid is no label
        """See `ports.KeyObserver`."""
        self._dropped.inc(number)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)
