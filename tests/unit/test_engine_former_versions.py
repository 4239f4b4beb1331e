"""What is said of former versions of the global key."""

from structlog.testing import capture_logs

from openscale_byok.adapters.global_key import generate_values
from openscale_byok.core.global_names import of_instance
from openscale_byok.crypto import global_versions
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.engine.former_versions import FormerVersions
from openscale_byok.engine.scope import Scope
from openscale_byok.resources import GLOBAL, OpenScaleInstance

GUID = "00000000-1111-2222-3333-444444444444"
NOW = "2026-11-24T00:00:00Z"
FORMER, NEXT = generate_values(), generate_values()


def under(name: str, values: dict[str, bytes]) -> OpenScaleInstance:
    """An instance whose one data key this version of the global key wraps."""
    data_key = DataKey(b"d" * 32)
    wrapped = global_versions.parse(values).wrap(data_key, ("openscale-byok", GUID), bytes(12))
    entry = {"id": data_key.id, "rootKey": GLOBAL, "rootKeyVersion": "v", "wrapped": wrapped}
    entry |= {"state": "Active", "createdTime": NOW}
    meta = {"namespace": "n", "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    raw = {"metadata": meta, "spec": {"serviceInstanceId": GUID}, "status": {"properties": {"dataKeys": [entry]}}}
    return OpenScaleInstance.of(raw)


def leave(*together: str) -> list[str]:
    """Two instances leave a version, those named at once; what is said of versions."""
    scopes = {("n", name): Scope(("n", name), under(name, FORMER), listed=True) for name in ("one", "two")}
    former, said = FormerVersions(), []
    for scope in scopes.values():
        former.settled(scope, scopes)
    for names in (together, {"one", "two"} - set(together)):
        for name in names:
            scopes["n", name].instance = under(name, NEXT)
        with capture_logs() as lines:
            for name in names:
                former.settled(scopes["n", name], scopes)
        said.append([line["version"] for line in lines if line["event"] == "former version free"])
    return said


(NAMING,) = of_instance(under("one", FORMER))
SHORT = NAMING.version[:8]


def test_free_only_once_the_last_instance_left_it():
    """While another instance names it nothing is said."""
    assert leave("one") == [[], [SHORT]]


def test_said_once_where_two_leave_it_together():
    """The first of them to come to rest says it; the second adds nothing."""
    assert leave("one", "two") == [[SHORT], []]
