"""What a program of ours counts, in Prometheus' text format: what operator and gateway share.

Labels are few: words of ours, and the names of instances and bindings, whose series go with them (see `gauges`). The
process's own metrics (process_*, python_gc_*) come along under the names that every dashboard knows, and so do those of
controllers (controller_runtime_*, workqueue_*, rest_client_*). docs/metrics.md is the list.
"""

import platform
from dataclasses import dataclass
from typing import Literal, TypeVar

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from openscale_byok import __version__
from openscale_byok.core.audit import AuditEvent
from openscale_byok.engine.observed import Observed
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Audit
from openscale_byok.ports.observers import Called, KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.shell.gauges import ObjectGauges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CONTROLLER = "instance"
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody asks for

C = TypeVar("C", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Description:
    """A metric, for people."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


class ProgramMetrics:
    """The metrics of a program: it listens to all that the engine and the adapters tell (`ports.observers`)."""

    def __init__(self, component: Literal["operator", "gateway"] = "operator", poll_seconds: float = 0.0) -> None:
        """*poll_seconds*: between two looks at a root key, which alerts compare with."""
        self.registry = CollectorRegistry()
        self.described: list[Description] = []
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        build = self.new(Gauge, "openscale_byok_build_info", "Always 1.", "component", "version", "python_version")
        build.labels(component, __version__, platform.python_version()).set(1)
        self.new(Gauge, "openscale_byok_key_poll_interval_seconds", "Between two looks at a root key.").set(
            poll_seconds
        )
        self.loop_silence = self.new(
            Gauge,
            "openscale_byok_event_loop_silence_seconds",
            "Since the event loop turned last, as the thread of the health port counts it.",
        )
        self._keys()
        self._calls()
        self._work()
        self.objects = ObjectGauges(told=component == "operator")
        self.registry.register(self.objects)

    def new(self, kind: type[C], name: str, text: str, *labels: str, **options: tuple[float, ...]) -> C:
        """A metric of this program."""
        self.described.append(Description(name, kind.__name__.lower(), labels, text))
        return kind(name, text, labels, registry=self.registry, **options)  # type: ignore[arg-type] # buckets, of histograms

    def _keys(self) -> None:
        text = "Looks at root keys, once for each binding, by whether it is usable: True, False or Unknown."
        self._looks = self.new(Counter, "openscale_byok_key_looks_total", text, "usable")
        for usable in ("True", "False", "Unknown"):
            self._looks.labels(usable)
        text = "Unwrapped data keys that were forgotten before their time."
        self._dropped = self.new(Counter, "openscale_byok_data_keys_dropped_total", text)

    def _calls(self) -> None:
        at = ("service", "operation")
        text = "Calls to Key Protect and IAM, by how they ended: success, refused (a no), unavailable (no answer)."
        self._ibm = self.new(Counter, "openscale_byok_ibm_requests_total", text, *at, "outcome")
        text = "Of calls to Key Protect and IAM."
        name = "openscale_byok_ibm_request_duration_seconds"
        self._ibm_seconds = self.new(Histogram, name, text, *at, buckets=_CALL_BUCKETS)
        text = "Calls to the API server, by status (409: somebody else wrote first; <error>: no answer); watches apart."
        self._api = self.new(Counter, "rest_client_requests_total", text, "code", "method")
        text = "Of calls to the API server, but for watches."
        name = "rest_client_request_duration_seconds"
        self._api_seconds = self.new(Histogram, name, text, "verb", buckets=_CALL_BUCKETS)
        text = "Watches that began; more than one every four minutes are restarts."
        self._watches = self.new(Counter, "openscale_byok_watch_starts_total", text, "resource")
        text = "Lines of the audit that could not be written: what they are about did not happen."
        self.audit_failures = self.new(Counter, "openscale_byok_audit_failures_total", text)

    def _work(self) -> None:
        text = "Passes over an instance, one step each: success, requeue (more at once), error."
        self._passes = self.new(Counter, "controller_runtime_reconcile_total", text, "controller", "result")
        text = "Passes that failed."
        self._errors = self.new(Counter, "controller_runtime_reconcile_errors_total", text, "controller")
        self._errors.labels(CONTROLLER)
        text = "Of a pass over an instance."
        name = "controller_runtime_reconcile_time_seconds"
        self._pass_seconds = self.new(Histogram, name, text, "controller", buckets=_PASS_BUCKETS)
        text = "Steps that failed, by kind of step and reason."
        self._failures = self.new(Counter, "openscale_byok_step_failures_total", text, "step", "reason")
        text = "Envelopes that were stored: seal (a first or a new password), re-encrypt, recover."
        self._sealed = self.new(Counter, "openscale_byok_envelopes_sealed_total", text, "how")
        for how in ("seal", "re-encrypt", "recover"):
            self._sealed.labels(how)

    def observe(self, observed: Observed) -> None:
        """Show this as what is so now."""
        self.objects.observed = observed

    def key_seen(self, seen: KeySeen) -> None:
        """See `ports.observers.KeyObserver`."""
        self._looks.labels(seen.usable).inc()

    def data_keys_dropped(self, holder: str, number: int) -> None:  # noqa: ARG002 -- a uid is no label
        """See `ports.observers.KeyObserver`."""
        self._dropped.inc(number)

    def called(self, call: Called) -> None:
        """See `ports.observers.CallObserver`."""
        if call.system == "kubernetes":
            self._api.labels(str(call.code) if call.code else "<error>", call.operation).inc()
            self._api_seconds.labels(call.operation).observe(call.seconds)
            return
        self._ibm.labels(call.system, call.operation, call.outcome).inc()
        self._ibm_seconds.labels(call.system, call.operation).observe(call.seconds)

    def pass_ended(self, outcome: Literal["success", "requeue", "error"], seconds: float) -> None:
        """See `ports.observers.WorkObserver`."""
        self._passes.labels(CONTROLLER, outcome).inc()
        self._pass_seconds.labels(CONTROLLER).observe(seconds)
        if outcome == "error":
            self._errors.labels(CONTROLLER).inc()

    def step_failed(self, step: str, reason: Reason) -> None:
        """See `ports.observers.WorkObserver`."""
        self._failures.labels(step, reason.value).inc()

    def sealed(self, how: Literal["seal", "re-encrypt", "recover"]) -> None:
        """See `ports.observers.WorkObserver`."""
        self._sealed.labels(how).inc()

    def began(self, watch: str) -> None:
        """See `watch_answers.Watched`."""
        self._watches.labels(watch).inc()

    def heard(self, watch: str) -> None:
        """See `watch_answers.Watched`."""

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)


class CountedAudit:
    """An audit whose failures are counted."""

    def __init__(self, audit: Audit, metrics: ProgramMetrics) -> None:
        self._audit, self._metrics = audit, metrics

    def write(self, event: AuditEvent) -> None:
        """See `ports.Audit`."""
        try:
            self._audit.write(event)
        except Unavailable:
            self._metrics.audit_failures.inc()
            raise
