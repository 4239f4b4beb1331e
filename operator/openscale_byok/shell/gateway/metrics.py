"""What the gateway counts of requests, besides what every program of ours counts. No name in a path, and no caller."""

from prometheus_client import Counter, Gauge, Histogram

from openscale_byok.reasons import Reason
from openscale_byok.shell.metrics import ProgramMetrics

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"})


class Metrics(ProgramMetrics):
    """The gateway's metrics."""

    def __init__(self, poll_seconds: float = 0.0) -> None:
        super().__init__("gateway", poll_seconds)
        text = "Requests that were refused or could not be answered, by reason."
        self._refusals = self.new(Counter, "openscale_byok_gateway_refusals_total", text, "reason")
        text = "Requests by route and class of status."
        labels = ("route", "method", "code_class")
        self._requests = self.new(Counter, "openscale_byok_gateway_requests_total", text, *labels)
        text = "From the head's end to the answer."
        name = "openscale_byok_gateway_request_duration_seconds"
        self._seconds = self.new(Histogram, name, text, "route", buckets=_BUCKETS)
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.connections = self.new(Gauge, "openscale_byok_gateway_connections", "Connections that are open.")
        text = "Connections closed for want of room, since the start."
        self.turned_away = self.new(Gauge, "openscale_byok_gateway_connections_turned_away", text)

    def refused(self, reason: Reason) -> None:
        """A request was refused, or could not be answered."""
        self._refusals.labels(reason.value).inc()

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
