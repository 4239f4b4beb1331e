"""What Argo CD makes of the statuses that our operator writes: its own language, its libraries, its conversions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from openscale_byok.resources import GROUP, KINDS
from stage import argocd
from statuses import load

ARGOCD = Path(__file__).parents[2] / "examples" / "argocd"
STATUSES = load()
LIBRARIES = ("coroutine", "debug", "io", "math", "string")
"""Argo CD opens base, table and its own small os for the scripts of argocd-cm, and none of these."""

HEALTH = {
    "Progressing": """binding-credentials-missing binding-instance-not-found binding-releasing binding-unreachable
        binding-unseen datamart-changed datamart-instance-not-found datamart-no-root-key datamart-secret-not-found
        datamart-unseen instance-changed instance-data-marts-remain instance-no-root-key instance-unreachable
        instance-unseen instance-waiting-for-root-key""",
    "Degraded": """binding-key-disabled datamart-endpoint-changed datamart-key-disabled datamart-password-empty
        instance-conflict instance-key-disabled""",
    "Healthy": """binding-expiring binding-in-force binding-standby datamart-handed-over datamart-sealed
        datamart-sealed-suspended instance-current instance-nothing-to-protect""",
    "Suspended": "datamart-suspended instance-suspended instance-suspended-at-work",
}
SAID = {name: health for health, names in HEALTH.items() for name in names.split()}


def as_lua(runtime: lua51.LuaRuntime, value: Any) -> Any:
    """JSON as Argo CD hands it to a script: null is nil, which a table does not hold."""
    if isinstance(value, Mapping):
        return runtime.table_from({name: as_lua(runtime, inner) for name, inner in value.items() if inner is not None})
    if isinstance(value, list):
        return runtime.table_from([as_lua(runtime, inner) for inner in value])
    return value


def as_json(value: Any) -> Any:
    """A table as Argo CD takes it back: an empty one is a list (it puts that right where it was an object before)."""
    if lua51.lua_type(value) != "table":
        return value
    names = list(value)
    if names == list(range(1, len(names) + 1)):
        return [as_json(value[name]) for name in names]
    return {name: as_json(value[name]) for name in names}


def run(script: str, found: Mapping[str, Any]) -> Any:
    """What a script of argocd-cm returns for an object."""
    runtime = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    for name in (*LIBRARIES, "python"):
        runtime.globals()[name] = None
    runtime.globals()["obj"] = as_lua(runtime, found)
    return as_json(runtime.execute(script))


def put_right(new: Any, old: Any) -> Any:
    """What Argo CD does to what an action returned: an empty list that was an empty object is one again."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {name: put_right(inner, old.get(name)) for name, inner in new.items()}
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [put_right(one, before) for one, before in zip(new, old, strict=True)]
    return old if new == [] and isinstance(old, dict) else new


def script(*names: str) -> str:
    """A Lua file of the examples."""
    return ARGOCD.joinpath(*names).read_text()


def test_every_status_has_its_verdict():
    """No recorded status is left out of the tables below, and none is in two."""
    assert sorted(STATUSES) == sorted(name for names in HEALTH.values() for name in names.split())


@pytest.mark.parametrize("name", SAID)
def test_health(name):
    """Well is Healthy, under way Progressing, what needs a person Degraded; what its owner suspended is Suspended."""
    health = run(script("health.lua"), STATUSES[name])
    assert health["status"] == SAID[name]
    ready = [c for c in STATUSES[name]["status"].get("conditions", ()) if c["type"] == "Ready"]
    if ready and not name.endswith("-changed"):
        assert health["message"] == f"{ready[0]['reason']}: {ready[0]['message']}", "it says why"


@pytest.mark.parametrize("status", [None, {}, {"conditions": []}], ids=["none", "empty", "nothing said"])
def test_an_object_without_a_status_is_progressing(status):
    """Whatever the cluster's schema fills in, nothing is taken for healthy, and no script fails."""
    found = {"metadata": {"name": "x", "generation": 1}, "spec": {}, "status": status}
    assert run(script("health.lua"), found)["status"] == "Progressing"


def test_argocd_cm_holds_these_scripts():
    """What is applied is what is tested: health and actions of each kind, under the keys that Argo CD reads."""
    text = script("argocd-cm.yaml")
    assert text == argocd.config_map(argocd.ROOT), "run `make generate`"
    data = yaml.safe_load(text)["data"]
    expected = {f"resource.customizations.health.{GROUP}_{kind.KIND}": script("health.lua") for kind in KINDS}
    assert {key: value for key, value in data.items() if ".health." in key} == expected
    actions = {key.rpartition("_")[2]: yaml.safe_load(value) for key, value in data.items() if ".actions." in key}
    assert set(actions) == {path.name for path in (ARGOCD / "actions").iterdir()}
    for kind, found in actions.items():
        assert found["discovery.lua"] == script("actions", kind, "discovery.lua")
        scripts = {one["name"]: one["action.lua"] for one in found["definitions"]}
        files = [path.stem for path in (ARGOCD / "actions" / kind).glob("*.lua") if path.stem != "discovery"]
        assert scripts == {name: script("actions", kind, f"{name}.lua") for name in files}
        assert set(run(found["discovery.lua"], STATUSES["datamart-sealed"])) == set(scripts), "each is offered"
    assert set(data) == {*expected, *(f"resource.customizations.actions.{GROUP}_{kind}" for kind in actions)}


OFFERED = {
    ("OpenScaleInstance", "instance-current"): {"suspend", "new-data-key"},
    ("OpenScaleInstance", "instance-suspended"): {"resume"},
    ("OpenScaleInstance", "instance-data-marts-remain"): {"suspend"},
    ("DataMart", "datamart-sealed"): {"protect", "read-password-again"},
}


@pytest.mark.parametrize(("kind", "name"), OFFERED, ids=[name for _, name in OFFERED])
def test_what_is_offered(kind, name):
    """An action is offered where it does something."""
    found = run(script("actions", kind, "discovery.lua"), STATUSES[name])
    assert {action for action, how in found.items() if not how.get("disabled")} == OFFERED[kind, name]


def test_a_given_password_is_not_read_again():
    """A data mart whose password was given through the gateway names no Secret: there is nothing to read."""
    found = {"metadata": {}, "spec": {"database": {}, "deletionProtection": True}}
    offered = run(script("actions", "DataMart", "discovery.lua"), found)
    assert {action: how["disabled"] for action, how in offered.items()} == {
        "protect": True, "read-password-again": True,
    }  # fmt: skip


CHANGES = {
    ("OpenScaleInstance", "suspend", "instance-current"): ("spec.suspend", True),
    ("OpenScaleInstance", "resume", "instance-suspended"): ("spec.suspend", False),
    ("OpenScaleInstance", "new-data-key", "instance-current"): ("spec.dataKeyRevision", 1),
    ("DataMart", "protect", "datamart-sealed"): ("spec.deletionProtection", True),
    ("DataMart", "read-password-again", "datamart-sealed"): ("spec.database.password.revision", 1),
}


@pytest.mark.parametrize(("kind", "action", "name"), CHANGES, ids=[action for _, action, _ in CHANGES])
def test_what_an_action_does(kind, action, name):
    """One field of the spec changes, and nothing else of the object: Argo CD sends the difference as a patch."""
    before = STATUSES[name]
    after = put_right(run(script("actions", kind, f"{action}.lua"), before), before)
    where, value = CHANGES[kind, action, name]
    expected = yaml.safe_load(yaml.safe_dump(before))
    target = expected
    *parts, last = where.split(".")
    for part in parts:
        target = target[part]
    assert target.get(last) != value
    target[last] = value
    assert after == expected
