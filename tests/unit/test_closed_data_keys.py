"""What is known of a data key that cannot be unwrapped stays known until the next try says something else."""

from openscale_byok.core import conditions
from openscale_byok.core.plan import plan
from openscale_byok.core.sealable import Note, from_datamart
from openscale_byok.core.steps import ReEncrypt, Report
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped
from openscale_byok.engine.scope import Failure, Scope
from openscale_byok.errors import Missing, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import FINALIZER, DataMart, OpenScaleInstance
from sim.views import DISABLED

GUID = "00000000-1111-2222-3333-444444444444"
NOW = "2026-11-23T00:00:00Z"


def stuck_scope() -> tuple[Scope, str]:
    """One secret under a Retiring data key whose unwrap was refused, its source gone, all of it reported."""
    old, new = DataKey(b"o" * 32), DataKey(b"n" * 32)
    keys = [
        {"id": key.id, "rootKey": "global", "rootKeyVersion": "1", "wrapped": "w", "state": state, "createdTime": NOW}
        for key, state in ((old, "Retiring"), (new, "Active"))
    ]
    meta = {"namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1, "finalizers": [FINALIZER]}
    scope = Scope(("n", "prod"), listed=True)
    scope.instance = OpenScaleInstance.of(
        {
            "metadata": meta | {"name": "prod"},
            "spec": {"serviceInstanceId": GUID},
            "status": {"properties": {"dataKeys": keys}},
        }
    )
    at = {"type": "PostgreSQL", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u"}
    at["password"] = {"secretRef": {"name": "s", "key": "password"}}
    raw = {
        "metadata": meta | {"name": "one", "uid": "m", "finalizers": []},
        "spec": {"instanceRef": {"name": "prod"}, "database": at},
    }
    context = from_datamart(DataMart.of(raw), GUID).context
    text = envelopes.seal(b"secret", old, context, Wrapped("global", "w"), bytes(12))
    stored = {"dataKey": old.id, "envelope": text, "sealedTime": NOW, "stuckUnder": new.id}
    mart = DataMart.of(raw | {"status": {"sealedPassword": stored, "observedGeneration": 1}})
    scope.put(from_datamart(mart, GUID))
    gone = Missing(Reason.SECRET_NOT_FOUND, "gone")
    scope.notes["m"] = Note(judged=text, source_trouble=gone, source_looked=1, source_due=1_000.0)
    scope.closed[old.id] = Failure(Refused(Reason.KEY_DISABLED, "disabled"), 1, due=100.0)
    return scope, old.id


def test_the_next_try_comes_before_any_status_says_something_else() -> None:
    """When a retry is due the secret still is stuck: it is tried, and only a success changes what is said of it."""
    scope, old = stuck_scope()
    waiting, due = scope.view(99.0, None), scope.view(101.0, None)
    assert waiting.shut == {old}
    assert due.shut == frozenset()
    told = [[(p.kind, p.status) for p in conditions.patches(view, NOW)] for view in (waiting, due)]
    assert told[0] == told[1]
    assert isinstance(plan(waiting), Report)
    scope.last_report = 101.0
    assert isinstance(plan(scope.view(101.0, None)), ReEncrypt)


def test_another_wrapped_form_is_tried_at_once() -> None:
    """Somebody put the right wrapped key back: what was said of the wrong one is void."""
    scope, old = stuck_scope()
    assert scope.instance is not None
    raw = scope.instance.model_dump(by_alias=True)
    raw["metadata"]["resourceVersion"] = "2"
    raw["status"]["properties"]["dataKeys"] = [
        entry | {"wrapped": "other"} for entry in raw["status"]["properties"]["dataKeys"]
    ]
    scope.see_instance(OpenScaleInstance.of(raw))
    assert old not in scope.closed


def test_a_list_forgets_no_look_at_the_global_key() -> None:
    """It is no binding's: were it forgotten at each list, a refusal would be forgotten until the next look."""
    scope = Scope(("n", "prod"))
    scope.keys = {"global": DISABLED, "a binding that is gone": DISABLED}
    scope.list_bindings(1, ())
    assert scope.keys == {"global": DISABLED}
