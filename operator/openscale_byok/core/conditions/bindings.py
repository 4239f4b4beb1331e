"""What a binding says of itself, and of its root key."""

from typing import Literal

from openscale_byok.core.conditions.base import Wanted, not_ready
from openscale_byok.core.findings import Count, count, needed, spent, stuck_digest, waiting_for
from openscale_byok.core.key_state import KeyState
from openscale_byok.core.retention import shred_time
from openscale_byok.core.shortlist import MOST_BINDINGS
from openscale_byok.core.view import Choice, KeyStanding, View, choose
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import ABANDON_ANNOTATION, PROPERTIES_FORMAT, RootKeyBinding


def key_usable(standing: KeyStanding) -> Wanted:
    """What is known of a root key, as a condition."""
    look, trouble = standing.look, standing.trouble
    if trouble is not None:
        status: Literal["False", "Unknown"] = "False" if isinstance(trouble, Refused) else "Unknown"
        return Wanted("KeyUsable", status, trouble.reason, trouble.message)
    if look is None:
        return Wanted("KeyUsable", "Unknown", Reason.CHECKING_KEY, "Key Protect has not answered yet")
    if look.unread is not None and look.state is KeyState.ACTIVE:
        reason, message = look.unread
        return Wanted("KeyUsable", "True", reason, f"{message}; until its end, the access token at hand is used")
    if standing.expiring:
        text = f"the root key expires on {look.until}: bind another before; after that it wraps no new data key"
        return Wanted("KeyUsable", "True", Reason.KEY_EXPIRING, text)
    return _by_state(look.state.value, look.until)


def _by_state(state: str, until: str) -> Wanted:
    at = f" (on {until})" if until else ""
    if state == "Suspended":
        return Wanted("KeyUsable", "False", Reason.KEY_DISABLED, "the root key is disabled; enable it in Key Protect")
    if state == "Destroyed":
        text = f"the root key was deleted; restore it in Key Protect{f' before {until}' if until else ''}"
        return Wanted("KeyUsable", "False", Reason.KEY_DESTROYED, text)
    if state == "Deactivated":
        text = f"the root key expired{at}: it still opens, but wraps no new data key; bind another root key"
        return Wanted("KeyUsable", "True", Reason.KEY_EXPIRED, text)
    return Wanted("KeyUsable", "True", Reason.KEY_ACTIVE, "the root key is active")


def of_binding(view: View, binding: RootKeyBinding) -> tuple[tuple[Wanted, ...], str | None]:
    """A binding's conditions and its role."""
    usable = key_usable(view.key(binding))
    unwritten = _unwritten(view, binding)
    if unwritten is not None:
        return (*not_ready(*unwritten), usable), "Releasing"
    if view.instance is None:
        named = binding.spec.instance_ref.name
        text = f"spec.instanceRef: OpenScaleInstance {named} does not exist in this namespace (yet)"
        return (*not_ready(Reason.INSTANCE_NOT_FOUND, text), usable), None
    choice, active = choose(view), view.properties.active
    chosen = choice.binding is not None and choice.binding.metadata.uid == binding.metadata.uid
    if binding.metadata.deleting:
        return (
            *_leaving(view, binding, choice),
            usable,
        ), "InForce" if chosen and choice.message else "Releasing"
    in_force = chosen and active is not None and active.root_key == binding.root_key
    if usable.status != "True" or (usable.reason is Reason.KEY_EXPIRED and not in_force):
        return (*unusable(usable), usable), "InForce" if in_force else None
    if in_force:
        text = f"protects OpenScaleInstance {view.name}"
        return (Wanted("Ready", "True", Reason.IN_FORCE, text), usable), "InForce"
    if chosen:
        cause = view.trouble("mint")
        reason, text = (cause.reason, cause.message) if cause else (Reason.SEALING, "about to come into force")
        return (*not_ready(reason, text), usable), "Standby"
    text = "waits until the binding in force is deleted"
    return (Wanted("Ready", "True", Reason.STANDBY, text), usable), "Standby"


def of_binding_beyond(view: View, binding: RootKeyBinding) -> tuple[tuple[Wanted, ...], str | None]:
    """The conditions and the role of a binding that is not among those that are looked at."""
    if binding.metadata.deleting and view.instance is not None:
        return _leaving(view, binding, choose(view)), "Releasing"
    text = (
        f"OpenScaleInstance {view.name} has more than {MOST_BINDINGS} bindings: the one in force and the oldest are "
        "looked at, and not this one; delete those that are not needed"
    )
    return not_ready(Reason.TOO_MANY_BINDINGS, text), None


def unusable(usable: Wanted) -> tuple[Wanted, ...]:
    if usable.status == "Unknown":
        ready = Wanted("Ready", "Unknown", usable.reason, usable.message)
        return ready, Wanted("Reconciling", "True", usable.reason, usable.message)
    return not_ready(usable.reason, usable.message)


def _leaving(view: View, binding: RootKeyBinding, choice: Choice) -> tuple[Wanted, ...]:
    if choice.binding is not None and choice.binding.metadata.uid == binding.metadata.uid and choice.message:
        return not_ready(Reason.STILL_NEEDED, choice.message)
    held = _held_up(view)
    if held is not None:
        return not_ready(*held)
    found = count(view)
    if found.stuck and needed(view, binding):
        digest = stuck_digest(view, binding)
        word = (
            f"; or let this binding go without them: annotate it with {ABANDON_ANNOTATION}={digest}" if digest else ""
        )
        return not_ready(Reason.STUCK, stuck_text(found) + word)
    text = f"secrets are moving away from this root key; see the instance for how far{waiting_for(view)}"
    return not_ready(Reason.RELEASING, text)


def _unwritten(view: View, binding: RootKeyBinding) -> tuple[Reason, str] | None:
    """Whether it waits for the audit. While its release is tried again it says so still: else it would flicker."""
    cause = view.unwritten(f"release:{binding.metadata.uid}")
    if cause is not None:
        return cause.reason, cause.message
    said = next((found for found in binding.status.conditions if found.type == "Ready"), None)
    if said is None or said.reason != Reason.AUDIT_UNAVAILABLE or view.instance is None:
        return None
    free = binding.metadata.deleting and not needed(view, binding) and _held_up(view) is None
    return (Reason.AUDIT_UNAVAILABLE, said.message) if free else None


def _held_up(view: View) -> tuple[Reason, str] | None:
    """Why nothing of the instance moves at all."""
    assert view.instance is not None  # noqa: S101 -- asked only then
    see = f"see OpenScaleInstance {view.name}, which moves nothing now"
    if shred_time(view) is not None and not spent(view):
        return Reason.SHREDDING, f"the instance is being deleted with spec.deletion.policy Shred: {see}"
    if view.instance.metadata.deleting and view.sealables:
        return Reason.DATA_MARTS_REMAIN, f"data marts still name the instance, which is being deleted: {see}"
    if view.conflict is not None:
        return view.conflict.reason, see
    if view.properties.format > PROPERTIES_FORMAT:
        return Reason.NEWER_FORMAT, see
    if view.instance.spec.suspend:
        return Reason.SUSPENDED, f"spec.suspend of the instance is true: {see}"
    return None


def stuck_text(found: Count) -> str:
    some = ", ".join(found.stuck_names[:5]) + (" …" if len(found.stuck_names) > 5 else "")
    text = f"{found.stuck} of {found.total} secrets cannot be opened ({some}): enable or restore their root key, "
    cause = min(found.stuck_causes, default="")  # the same one each time, in whatever order they are found
    more = " …" if len(found.stuck_causes) > 1 else ""
    return f"{text}or give their passwords again{f' ({cause}{more})' if cause else ''}"
