"""What is said of former versions of the global key."""

from structlog.testing import capture_logs

from openscale_byok.adapters.global_key import generate_values
from openscale_byok.core.global_names import of_instance
from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.core.view import KeyStanding
from openscale_byok.crypto import global_versions
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.engine.former_versions import FormerVersions
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.resources import GLOBAL, OpenScaleInstance

GUID = "00000000-1111-2222-3333-444444444444"
NOW = "2026-11-24T00:00:00Z"
FORMER, NEXT, LAST = generate_values(), generate_values(), generate_values()


def under(name: str, values: dict[str, bytes]) -> OpenScaleInstance:
    """An instance whose one data key this version of the global key wraps."""
    data_key = DataKey(b"d" * 32)
    wrapped = global_versions.parse(values).wrap(data_key, ("openscale-byok", GUID), bytes(12))
    entry = {"id": data_key.id, "rootKey": GLOBAL, "rootKeyVersion": "v", "wrapped": wrapped}
    entry |= {"state": "Active", "createdTime": NOW}
    meta = {"namespace": "n", "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    raw = {"metadata": meta, "spec": {"serviceInstanceId": GUID}, "status": {"properties": {"dataKeys": [entry]}}}
    return OpenScaleInstance.of(raw)


def told(scope: Scope, values: dict[str, bytes]) -> None:
    """The last look at the global key found this version."""
    look = KeyLook(KeyState.ACTIVE, global_versions.named_current(values), rewraps=None)
    scope.keys[GLOBAL] = KeyStanding(look)


def settle(former: FormerVersions, scopes: dict[Key, Scope], *names: str) -> list[str]:
    """These come to rest; what is said of versions."""
    with capture_logs() as lines:
        for name in names:
            former.settled(scopes["n", name], scopes)
    return [line["version"] for line in lines if line["event"] == "former version free"]


def leave(*together: str) -> list[list[str]]:
    """Two instances leave a version, those named at once; what is said of versions."""
    scopes = {("n", name): Scope(("n", name), under(name, FORMER), listed=True) for name in ("one", "two")}
    former, said = FormerVersions(), []
    for scope in scopes.values():
        former.see(scope)
        told(scope, NEXT)
    for names in (together, {"one", "two"} - set(together)):
        for name in names:
            scopes["n", name].instance = under(name, NEXT)
        said.append(settle(former, scopes, *names))
    return said


(NAMING,) = of_instance(under("one", FORMER))
SHORT = NAMING.version[:8]


def test_free_only_once_the_last_instance_left_it():
    """While another instance names it nothing is said."""
    assert leave("one") == [[], [SHORT]]


def test_said_once_where_two_leave_it_together():
    """The first of them to come to rest says it; the second adds nothing."""
    assert leave("one", "two") == [[SHORT], []]


def test_the_version_that_wraps_waits_until_it_is_a_former_one():
    """What named it is gone; it is said once a look finds another version, and nothing while nobody has looked."""
    scope = Scope(("n", "one"), under("one", FORMER), listed=True)
    former, scopes = FormerVersions(), {scope.key: scope}
    former.see(scope)
    scope.instance = None
    assert settle(former, scopes, "one") == []
    told(scope, FORMER)
    assert settle(former, scopes, "one") == []
    told(scope, NEXT)
    assert settle(former, scopes, "one") == [SHORT]


def test_named_between_two_rests():
    """Two rotations in a row: the version between them was only ever named while there was work to do."""
    scope = Scope(("n", "one"), under("one", FORMER), listed=True)
    former, scopes = FormerVersions(), {scope.key: scope}
    former.see(scope)
    settle(former, scopes, "one")
    for values in (NEXT, LAST):
        scope.instance = under("one", values)
        former.see(scope)
    told(scope, LAST)
    between = global_versions.named_current(NEXT)[:8]
    assert settle(former, scopes, "one") == sorted([SHORT, between])
