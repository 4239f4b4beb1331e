"""What the gateway counts of its own, besides what every program of ours does. No namespace, no name, no caller."""

from prometheus_client import Counter, Gauge, Histogram

from openscale_byok.shell.metrics import ProgramMetrics

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"})


class Metrics(ProgramMetrics):
    """The gateway's metrics."""

    def __init__(self) -> None:
        super().__init__()
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
        self.connections = Gauge(
            "openscale_byok_gateway_connections", "Connections that are open.", registry=self.registry
        )
        self.turned_away = Gauge(
            "openscale_byok_gateway_connections_turned_away",
            "Connections closed for want of room, since the start.",
            registry=self.registry,
        )

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
