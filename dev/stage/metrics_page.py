"""docs/metrics.md: every metric of operator and gateway, as they show it."""

from collections.abc import Iterator

from openscale_byok.engine.observed import Observed, ObservedBinding, ObservedCondition, ObservedInstance
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.metrics import Description, ProgramMetrics

_SAID = (ObservedCondition("Ready", "True", "Current"),)
SOME = Observed(
    instances=(ObservedInstance("team-a", "prod", "Customer", 4, 1, 1, 1, _SAID),),
    bindings=(ObservedBinding("team-a", "eu", "prod", "InForce", "Active", "True", 1.0, 1.0, 1.0, 1, 1.0, _SAID),),
)
"""An instance and a binding, for their series."""
_HEAD = """# Metrics

<!-- Written by `make generate`, from what the programs show. -->

Operator and gateway answer `/metrics` on their health ports, 8082 and 8081 ([settings.md](settings.md)), without TLS
and for everybody who reaches the port. What is there names namespaces, instances and bindings; no data mart, no CRN, no
user and no secret. [monitoring.md](monitoring.md) says how they come into Prometheus, and [runbooks.md](runbooks.md)
what is alerted on.

An object's series go when it goes. Of one namespace at most 100 instances and 100 bindings have series of their own;
`openscale_byok_objects_left_out` says how many have none. Times are seconds since the epoch: `time() - x` is an age,
and `(x - time()) / 86400` the days until then. Names that begin with `controller_runtime_`, `workqueue_` and
`rest_client_` are those that dashboards of controllers know. Those of the process (`process_*`, `python_*`) come along.

"""


def text() -> str:
    """The page."""
    rows = ["| metric | type | labels | of | meaning |", "|---|---|---|---|---|"]
    both = {"operator": described(ProgramMetrics()), "gateway": described(Metrics())}
    for name in sorted({found.name for each in both.values() for found in each}):
        of = [program for program, each in both.items() if name in {found.name for found in each}]
        found = next(found for each in both.values() for found in each if found.name == name)
        labels = ", ".join(f"`{label}`" for label in found.labels) or "none"
        rows.append(f"| `{name}` | {found.type} | {labels} | {', '.join(of)} | {found.text} |")
    return _HEAD + "\n".join(rows) + "\n"


def described(metrics: ProgramMetrics) -> tuple[Description, ...]:
    """Every metric of a program, but those of its process."""
    metrics.observe(SOME)
    return (*metrics.described, *_of_objects(metrics))


def _of_objects(metrics: ProgramMetrics) -> Iterator[Description]:
    for family in metrics.objects.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Description(name, family.type, tuple(family.samples[0].labels), family.documentation)
