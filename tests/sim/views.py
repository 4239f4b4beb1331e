"""Views made by hand: what the rules are asked about, without an engine or a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from openscale_byok.core import conditions
from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.core.sealable import Note, Sealable, from_datamart
from openscale_byok.core.view import KeyStanding, View
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped
from openscale_byok.errors import Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import FINALIZER, GLOBAL, DataMart, OpenScaleInstance, RootKeyBinding

GUID = "00000000-1111-2222-3333-444444444444"
NOW = "2026-11-23T00:00:00Z"
LATER = 100.0
"""When sources are due again; the clock of these views stands at zero."""
OLD, NEW, LOST = (DataKey(bytes([i]) * 32) for i in (1, 2, 3))
"""Data keys: a former one, the Active one, and one that is recorded nowhere."""

GONE = Missing(Reason.SECRET_NOT_FOUND, "the source is gone")
NO = Refused(Reason.KEY_DISABLED, "disabled")
AWAY = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "away")
USABLE = KeyStanding(KeyLook(KeyState.ACTIVE, "1"))
DISABLED = KeyStanding(KeyLook(KeyState.SUSPENDED, "1"))
EXPIRED = KeyStanding(KeyLook(KeyState.DEACTIVATED, "1"))
UNREACHED = KeyStanding(None, AWAY)
SECRET = KeyStanding(KeyLook(KeyState.ACTIVE, "2", rewraps=None))
"""The global key in its Secret, at its second version."""
OWNERS = KeyStanding(KeyLook(KeyState.ACTIVE, "key/2", rewraps="key/"))
"""The global key in Key Protect, at its second version."""


def crn(letter: str) -> str:
    """The CRN of a root key, named by one hexadecimal letter."""
    key = f"66666666-7777-8888-9999-{letter * 12}"
    return f"crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:{GUID}:key:{key}"


A, B = crn("a"), crn("b")


def entry(key: DataKey, root_key: str = GLOBAL, state: str = "Active", version: str = "1") -> dict[str, str]:
    """A recorded data key."""
    return {
        "id": key.id, "rootKey": root_key, "rootKeyVersion": version, "wrapped": "w", "state": state,
        "createdTime": NOW,
    }  # fmt: skip


def instance(
    keys: Iterable[Mapping[str, str]] = (),
    *,
    deleting: bool = False,
    ours: bool = True,
    format_: int = 1,
    seen_deletion: Mapping[str, str] | None = None,
    **spec: Any,
) -> OpenScaleInstance:
    """An instance that records these data keys, and what was seen of its deletion."""
    return OpenScaleInstance.of(
        {
            "metadata": _meta("prod", deleting=deleting, ours=ours),
            "spec": {"serviceInstanceId": GUID, **spec},
            "status": {"properties": {"format": format_, "dataKeys": list(keys)}, "deletion": seen_deletion},
        }
    )


def binding(
    name: str, root_key: str, *, deleting: bool = False, ours: bool = True, made: str = "2026-01-01T00:00:00Z"
) -> RootKeyBinding:
    """A binding of the instance."""
    return RootKeyBinding.of(
        {
            "metadata": _meta(name, deleting=deleting, ours=ours) | {"creationTimestamp": made},
            "spec": {"instanceRef": {"name": "prod"}, "rootKey": {"crn": root_key}},
        }
    )


def mart(
    name: str = "one",
    under: DataKey | None = None,
    *,
    root_key: str = GLOBAL,
    ready: bool = False,
    handover: bool = False,
    moved: bool = False,
    mark: DataKey | None = None,
    envelope: str = "",
    kept: bool = False,
    held: bool = False,
    deleting: bool = False,
    **note: Any,
) -> tuple[Sealable, Note]:
    """A data mart and what is remembered of it: opened, and its source looked at, unless *note* says otherwise.

    Args:
        name: of the data mart.
        under: the data key that its envelope names.
        root_key: the root key that its envelope names.
        ready: whether its status says that it is safely sealed.
        handover: whether its source is consumed once it is sealed.
        moved: whether its endpoint was changed since.
        mark: the data key that its stuck mark names.
        envelope: the text that is stored instead.
        kept: whether its status says that the source is still there.
        held: whether it carries our finalizer.
        deleting: whether somebody asked for its deletion.
        note: fields of the note.
    """
    at = {"type": "PostgreSQL", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u"}
    at["password"] = {"secretRef": {"name": "s", "key": "password"}}
    raw: dict[str, Any] = {
        "metadata": _meta(name, ours=held, deleting=deleting),
        "spec": {"instanceRef": {"name": "prod"}, "database": at},
    }
    text = envelope
    if under is not None:
        text = envelopes.seal(
            b"secret", under, from_datamart(DataMart.of(raw), GUID).context, Wrapped(root_key, "w"), bytes(12)
        )
    if text:
        source = {"uid": "s", "resourceVersion": "1", "handover": handover}
        stored = {"dataKey": "k", "envelope": text, "sealedTime": NOW, "source": source}
        stored |= {"stuckUnder": mark.id} if mark else {}
        raw["status"] = {"sealedPassword": stored, "observedGeneration": 1}
    if moved:
        at["host"] = "elsewhere"
    found = from_datamart(DataMart.of(raw), GUID)
    remembered = Note(judged=text, source_looked=1, source_due=LATER).with_(**note)
    if ready:
        wanted = conditions.confirmed(found, Note())
        if not kept:
            wanted = tuple(want for want in wanted if want.type != "SourceRemoved")
        said = conditions.merged((), wanted, 1, NOW)
        found = from_datamart(DataMart.of(raw | {"status": raw["status"] | {"conditions": said}}), GUID)
    return found, remembered


def view(
    found: OpenScaleInstance | None = None,
    *,
    bindings: Iterable[RootKeyBinding] = (),
    marts: Iterable[tuple[Sealable, Note]] = (),
    keys: Mapping[str, KeyStanding] | None = None,
    global_key: KeyStanding | None = None,
    last_report: float = 0.0,
    **more: Any,
) -> View:
    """What is observed; every root key is usable unless *keys* (by the binding's name) says otherwise.

    The global key was not looked at yet, unless *global_key* says what was found.
    """
    bindings, marts = tuple(bindings), tuple(marts)
    return View(
        "n",
        "prod",
        found,
        bindings=bindings,
        keys={b.metadata.uid: (keys or {}).get(b.metadata.name, USABLE) for b in bindings}
        | ({GLOBAL: global_key} if global_key is not None else {}),
        sealables=tuple(sealable for sealable, _ in marts),
        notes={sealable.uid: note for sealable, note in marts},
        last_report=last_report,
        **more,
    )


def reported(seen: View) -> View:
    """The same, once every status says what was found."""
    statuses = {patch.meta.uid: dict(patch.status) for patch in conditions.patches(seen, NOW)}

    def after(thing: Any) -> Any:
        before = thing.model_dump(by_alias=True, exclude_none=True)
        status = before.get("status", {}) | statuses.get(thing.metadata.uid, {})
        return type(thing).of(before | {"status": status})

    marts = []
    for sealable in seen.sealables:
        status = statuses.get(sealable.uid, {})
        read = DataMart.of({"metadata": {}, "spec": _DUMMY, "status": status}).status
        conditions_ = read.conditions if "conditions" in status else sealable.conditions
        observed = status.get("observedGeneration", sealable.observed_generation)
        marts.append(replace(sealable, conditions=conditions_, observed_generation=observed))
    return replace(
        seen,
        instance=after(seen.instance) if seen.instance else None,
        bindings=tuple(after(b) for b in seen.bindings),
        sealables=tuple(marts),
    )


def _meta(name: str, *, deleting: bool = False, ours: bool = True) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "1"}
    meta |= {"generation": 1, "finalizers": [FINALIZER] if ours else []}
    return meta | ({"deletionTimestamp": NOW} if deleting else {})


_DUMMY = {
    "instanceRef": {"name": "prod"},
    "database": {
        "type": "Db2", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u",
        "password": {"secretRef": {"name": "s", "key": "password"}},
    },
}  # fmt: skip
