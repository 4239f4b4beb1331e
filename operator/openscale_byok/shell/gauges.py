"""Metrics of instances and bindings: made anew from what is so now, so a series goes with its object."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from openscale_byok.engine.observed import Observed, ObservedBinding, ObservedInstance
from openscale_byok.reasons import Reason

Family = GaugeMetricFamily | CounterMetricFamily
_OF_BINDING = ("namespace", "binding")
_OTHER = "Other"


class ObjectGauges(Collector):
    """Shows what was observed last."""

    def __init__(self, *, told: bool) -> None:
        """*told*: whether what the statuses say is shown too; by one program, or it would be counted twice."""
        self._told = told
        self.observed = Observed()

    def collect(self) -> Iterator[Family]:
        """See `Collector`."""
        found = self.observed
        yield from _of_program(found)
        yield from _of_root_keys(found.bindings)
        if self._told:
            yield from _of_instances(found.instances)
            yield _conditions(found)


def _gauge(name: str, text: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=list(labels))


def _number(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _of_program(found: Observed) -> Iterator[Family]:
    depth = _gauge("workqueue_depth", "Instances that wait for a pass.", ["name"])
    depth.add_metric(["instance"], found.waiting)
    yield depth
    text = "That the instance which waits for longest has waited for its pass."
    yield _number("openscale_byok_queue_oldest_wake_seconds", text, found.oldest)
    active = _gauge("controller_runtime_active_workers", "Passes under way.", ["controller"])
    active.add_metric(["instance"], found.active)
    yield active
    yield _number("openscale_byok_data_keys", "Data keys in memory.", found.data_keys)
    text = "Uses of a data key, by whether it was in memory: hit, or miss (Key Protect is asked)."
    uses = CounterMetricFamily("openscale_byok_data_key_uses", text, labels=["result"])
    uses.add_metric(["hit"], found.hits)
    uses.add_metric(["miss"], found.misses)
    yield uses
    text = "Instances and bindings that have no series of their own: their namespace has too many."
    yield _number("openscale_byok_objects_left_out", text, found.left_out)


def _of_root_keys(bindings: Iterable[ObservedBinding]) -> Iterator[Family]:
    text = "1 for what is known of the binding's root key: True, False or Unknown."
    usable = _gauge("openscale_byok_root_key_usable", text, (*_OF_BINDING, "status"))
    text = "1 for the state of the binding's root key in Key Protect, and for what the binding does."
    state = _gauge("openscale_byok_root_key_state", text, (*_OF_BINDING, "openscale_instance", "state", "role"))
    text = "When the last look at the binding's root key ended, whatever it found."
    looked = _gauge("openscale_byok_root_key_last_look_timestamp_seconds", text, _OF_BINDING)
    text = "When Key Protect said yes or no last about the binding's root key."
    heard = _gauge("openscale_byok_root_key_last_answer_timestamp_seconds", text, _OF_BINDING)
    text = "When the binding's root key expires, where it does."
    expires = _gauge("openscale_byok_root_key_expiry_timestamp_seconds", text, _OF_BINDING)
    text = "Data keys of the binding in memory that may be used now."
    held = _gauge("openscale_byok_data_keys_held", text, _OF_BINDING)
    text = "When the first of them may not be used any more, if Key Protect is not reached before."
    until = _gauge("openscale_byok_data_keys_open_until_timestamp_seconds", text, _OF_BINDING)
    for one in bindings:
        at = [one.namespace, one.name]
        usable.add_metric([*at, one.usable], 1)
        state.add_metric([*at, one.instance, one.state, one.role], 1)
        held.add_metric(at, one.data_keys)
        times = ((looked, one.looked), (heard, one.heard), (expires, one.expires), (until, one.opens_until))
        for family, value in times:
            if value is not None:
                family.add_metric(at, value)
    yield from (usable, state, looked, heard, expires, held, until)


def _of_instances(instances: Iterable[ObservedInstance]) -> Iterator[Family]:
    at = ("namespace", "openscale_instance")
    text = (
        "Secrets of the instance: current (under its active data key), stale (still to be re-encrypted), stuck (its "
        "data key cannot be unwrapped), unsealed."
    )
    secrets = _gauge("openscale_byok_secrets", text, (*at, "state"))
    protection = _gauge("openscale_byok_protection", "1 for whose root key is in force.", (*at, "protection"))
    for one in instances:
        name = [one.namespace, one.name]
        unsealed = max(0, one.total - one.current - one.stale - one.stuck)
        states = (("current", one.current), ("stale", one.stale), ("stuck", one.stuck), ("unsealed", unsealed))
        for state, number in states:
            secrets.add_metric([*name, state], number)
        protection.add_metric([*name, one.protection], 1)
    yield from (secrets, protection)


def _conditions(found: Observed) -> Family:
    labels = ("kind", "namespace", "name", "condition", "status", "reason")
    text = "1 for each condition of instances and bindings, as their status says it."
    family = _gauge("openscale_byok_resource_condition", text, labels)
    kinds = (("OpenScaleInstance", found.instances), ("RootKeyBinding", found.bindings))
    for kind, things in kinds:
        for thing in things:
            for said in thing.conditions:
                reason = said.reason if said.reason in Reason.__members__.values() else _OTHER
                family.add_metric([kind, thing.namespace, thing.name, said.type, said.status, reason], 1)
    return family
