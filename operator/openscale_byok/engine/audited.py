"""What is audited: its line is written first, or it does not happen; a second line says what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from openscale_byok.core.audit import OURSELVES, UNKNOWN, Action, AuditEvent
from openscale_byok.core.sealable import Sealable
from openscale_byok.errors import ByokError, Unavailable
from openscale_byok.ports import Audit
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance, RootKeyBinding

log = structlog.get_logger("openscale_byok")


@contextmanager
def audited(audit: Audit, event: AuditEvent) -> Iterator[None]:
    """Do what the block does, between two lines. A crash in between leaves the first, whose outcome is pending.

    The second cannot be a condition of what is done by then: where it cannot be written, the log says so.

    Raises:
        Unavailable: `AuditUnavailable`: the first line cannot be written, and the block was not begun.
    """
    audit.write(replace(event, outcome="pending"))
    try:
        yield
    except ByokError as error:
        told(audit, replace(event, outcome="failure", reason=error.reason.value, trace=error.trace))
        raise
    told(audit, event)


def told(audit: Audit, event: AuditEvent) -> bool:
    """Write what came of something; whether that could be written."""
    try:
        audit.write(event)
    except Unavailable as error:
        log.error(
            "outcome not audited",
            action=event.action.value,
            outcome=event.outcome,
            namespace=event.namespace,
            name=event.name,
            reason=error.reason.value,
            message=error.message,
        )
        return False
    return True


# What it is about -------------------------------------------------------------------------------------------


def event_of(
    action: Action, thing: OpenScaleInstance | RootKeyBinding, root_key: str, data_key: str = "", reason: str = ""
) -> AuditEvent:
    """What the operator does to an instance or a binding, by its rules."""
    meta, instance = thing.metadata, ""
    if isinstance(thing, RootKeyBinding):
        instance = f"{OpenScaleInstance.KIND}/{thing.spec.instance_ref.name}"
    return AuditEvent(
        action,
        "success",
        OURSELVES,
        kind=thing.KIND,
        namespace=meta.namespace,
        name=meta.name,
        belongs_to=instance,
        reason=reason,
        root_key=root_key,
        data_key=data_key,
    )


def consumed(sealable: Sealable, source: str) -> AuditEvent:
    """A hand-over source is deleted, for what was sealed from it."""
    owner = f"{sealable.kind}/{sealable.meta.name}"
    return _under(sealable, AuditEvent(Action.SOURCE_CONSUMED, "success", OURSELVES, "", "Secret", "", source, owner))


def destroyed(sealable: Sealable) -> AuditEvent:
    """A sealed password is destroyed, with its instance."""
    kind, name, owner = sealable.kind, sealable.meta.name, f"{OpenScaleInstance.KIND}/{sealable.instance}"
    return _under(sealable, AuditEvent(Action.SHREDDED, "success", OURSELVES, "", kind, "", name, owner))


def deleted_only_copy(sealable: Sealable) -> AuditEvent:
    """A sealed password went with its object, and was nowhere else. Who deleted that is not to be seen."""
    kind, name, owner = sealable.kind, sealable.meta.name, f"{OpenScaleInstance.KIND}/{sealable.instance}"
    reason = Reason.ONLY_COPY_DELETED.value
    event = AuditEvent(Action.ONLY_COPY_DELETED, "success", UNKNOWN, "", kind, "", name, owner, reason=reason)
    return _under(sealable, event)


def _under(sealable: Sealable, event: AuditEvent) -> AuditEvent:
    """With the keys that it is sealed under."""
    named, envelope = replace(event, namespace=sealable.meta.namespace), sealable.envelope
    if envelope is None:
        return named
    return replace(named, root_key=envelope.wrapped.root_key, data_key=envelope.data_key)
