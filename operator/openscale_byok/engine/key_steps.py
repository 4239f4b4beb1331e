"""The steps that change which keys are recorded: rebuild, mint, rewrap, retire, release.

Each reads afresh what it rests on, and writes once, conditioned on the instance as it was read *first*.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from openscale_byok.core.audit import Action
from openscale_byok.core.conditions import told
from openscale_byok.core.findings import abandoned, needed, retirable, shreds, spent
from openscale_byok.core.sealable import Sealable
from openscale_byok.core.steps import Hold, LetGo, Mint, Rebuild, Release, Retire, Rewrap, ShredKeys
from openscale_byok.core.view import View, choose
from openscale_byok.crypto.global_versions import version_in
from openscale_byok.engine.audited import audited, event_of
from openscale_byok.engine.context import Context, aad_of, log
from openscale_byok.engine.queue import aside
from openscale_byok.engine.scope import Scope
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    FINALIZER,
    GLOBAL,
    MAX_RETIRING,
    DataKeyEntry,
    OpenScaleInstance,
    Properties,
    RootKeyBinding,
)


async def hold(context: Context, scope: Scope, step: Hold) -> None:
    """Put our finalizer on."""
    raw = await context.store.patch_finalizers(step.kind, step.meta, (*step.meta.finalizers, FINALIZER))
    _take(scope, step.kind, raw)


async def let_go(context: Context, scope: Scope, step: LetGo) -> None:
    """Take our finalizer off an instance. Read afresh first: a data mart may have come meanwhile."""
    instance = await context.read_instance(scope)
    await context.list_marts(scope)
    same = instance.metadata.uid == step.instance.metadata.uid
    if not same or not spent(_now(context, scope)):
        return
    ready = next((c for c in instance.status.conditions if c.type == "Ready"), None)
    if ready is not None and ready.reason == Reason.SHREDDED:
        # Proven by what was just read, and said before the object goes: after that nobody could.
        log.info("shredded", instance=scope.key[1], namespace=scope.key[0], message=ready.message)
        await context.store.announce(instance.KIND, instance.metadata, Reason.SHREDDED, ready.message)
    await _unhold(context, scope, instance)


async def shred_keys(context: Context, scope: Scope, _: ShredKeys) -> None:
    """Destroy the wrapped data keys, by their owner's word. In two writes: no Active key may ever just vanish.

    The list is begun after the instance was read: no envelope is left that these keys could open.
    """
    instance = await context.read_instance(scope)
    await context.list_marts(scope)
    view = _now(context, scope)
    if not shreds(view) or any(s.stored for s in view.sealables):
        return
    keys = [key.model_copy(update={"state": "Retiring"}) for key in instance.properties.data_keys]
    event = event_of(
        Action.SHREDDED,
        instance,
        root_key=", ".join(sorted({key.root_key for key in keys})),
        data_key=", ".join(key.id for key in keys),
    )
    with audited(context.audit, event):
        for rest in (keys, []):
            assert scope.instance is not None  # noqa: S101 -- read above, and each write answers with it
            written = {"userRootKeyCRN": "", "dataKeys": [key.dump() for key in rest]}
            await _write(context, scope, scope.instance, written)
    for key in keys:
        context.data_keys.forget(key.id)


async def release(context: Context, scope: Scope, step: Release, conflict: Refused | None) -> None:
    """Let a binding go: decided anew on a fresh instance and a list of bindings that begins after it.

    The instance is written first. A writer that decided before the deletion to mint under this root key
    now fails its compare-and-swap; without this write it could still record a data key under a root key
    whose owner believes it to be free. The finalizer comes off only the very binding that was listed: one
    re-created under its name has another resourceVersion.
    """
    binding: RootKeyBinding | None = step.binding
    if step.instance is not None:
        instance = await context.read_instance(scope)
        listing = await context.store.bindings(*scope.key)
        scope.list_bindings(listing.version, listing.items)
        binding = next((b for b in listing.items if b.metadata.uid == step.binding.metadata.uid), None)
        if binding is None:
            return
        if not binding.metadata.deleting or needed(scope.view(context.clock.monotonic(), conflict), binding):
            raise Changed(Reason.CHANGED_MEANWHILE, "the binding is needed again by now")
    assert binding is not None  # noqa: S101 -- either the step's own, or found above
    left = step.instance is not None and abandoned(scope.view(context.clock.monotonic(), conflict), binding)
    reason = Reason.ABANDONED if left else Reason.RELEASED
    event = event_of(Action.BINDING_RELEASED, binding, reason=reason.value, root_key=binding.root_key)
    with audited(context.audit, event):
        if step.instance is not None:
            await _write(context, scope, instance, {"releases": instance.properties.releases + 1})
        await _unhold(context, scope, binding)
    context.data_keys.drop(binding.metadata.uid)
    text = f"nothing needs root key {binding.root_key}"
    if left:
        text = f"stuck secrets still need root key {binding.root_key}; their envelopes and wrapped data keys are kept"
    log.info(reason.value, binding=binding.metadata.name, namespace=scope.key[0], root_key=binding.root_key)
    await context.store.announce(binding.KIND, binding.metadata, reason, text)


async def mint(context: Context, scope: Scope, step: Mint, conflict: Refused | None) -> None:
    """A new data key becomes Active, in one write with the former one's turn to Retiring.

    A crash before that write leaves a data key that nobody recorded: harmless.
    """
    instance = await context.read_instance(scope)
    listing = await context.store.bindings(*scope.key)
    scope.list_bindings(listing.version, listing.items)
    if not instance.properties.data_keys:
        await context.list_marts(scope)
        if any(s.envelope is not None for s in scope.sealables.values()):
            raise Changed(Reason.CHANGED_MEANWHILE, "the properties are empty, and envelopes exist: rebuild first")
    choice = choose(scope.view(context.clock.monotonic(), conflict))
    if choice.root_key != step.root_key or instance.metadata.deleting:
        raise Changed(Reason.CHANGED_MEANWHILE, "another root key is to come into force by now")

    kms, binding = context.kms(scope, step.root_key)
    aad = aad_of(instance)
    async with aside():
        data_key, wrapped = await kms.generate(aad)
        scope.learn_version(step.root_key, wrapped.version)
        proven = await kms.unwrap(wrapped.ciphertext, aad)
    if proven.id != data_key.id:
        raise Refused(Reason.TAMPERED, "the new data key does not unwrap to itself; nothing was sealed with it")

    before = instance.properties
    entry = DataKeyEntry(
        id=data_key.id,
        root_key=step.root_key,
        root_key_version=wrapped.version,
        wrapped=wrapped.ciphertext,
        state="Active",
        created_time=context.now_text(),
    )
    former = [key.model_copy(update={"state": "Retiring"}) for key in before.data_keys]
    written = {
        "format": before.format,
        "userRootKeyCRN": "" if step.root_key == GLOBAL else step.root_key,
        "dataKeyRevision": instance.spec.data_key_revision,
        "dataKeys": [key.dump() for key in (*former, entry)],
    }
    event = event_of(Action.ROOT_KEY_CHANGED, instance, root_key=step.root_key, data_key=entry.id)
    same = before.active is not None and before.active.root_key == step.root_key
    with nullcontext() if same else audited(context.audit, event):
        await _write(context, scope, instance, written)
    if binding is not None:
        # Under the global key it is unwrapped once more before its first use, after it was recorded: whoever removes
        # a version looks for what names it before and after, so that one of the two sees the other.
        context.data_keys.put(binding.metadata.uid, proven)
    changed = before.active is not None and before.active.root_key != step.root_key
    reason = Reason.ROOT_KEY_CHANGED if changed else Reason.DATA_KEY_MINTED
    text = f"data key {entry.id[:8]} under {'the global key' if step.root_key == GLOBAL else step.root_key} is active"
    log.info("minted", instance=scope.key[1], namespace=scope.key[0], data_key=entry.id[:8], root_key=step.root_key)
    await context.store.announce(instance.KIND, instance.metadata, reason, text)


async def rewrap(context: Context, scope: Scope, step: Rewrap) -> None:
    """Wrap a data key by its root key's newest version; prove what is about to be stored; store it."""
    instance = await context.read_instance(scope)
    entry = instance.properties.find(step.data_key)
    if entry is None:
        return
    kms, _ = context.kms(scope, entry.root_key)
    aad = aad_of(instance)
    async with aside():
        newer = await kms.rewrap(entry.wrapped, aad)
        scope.learn_version(entry.root_key, newer.version)
        if newer.version == entry.root_key_version:
            return  # rotated since the last look at the root key, and wrapped since then: nothing is behind
        proven = await kms.unwrap(newer.ciphertext, aad)
    if proven.id != entry.id:
        raise Refused(Reason.TAMPERED, "the rewrapped data key unwraps to another key; the former wrapped form is kept")
    update = {"wrapped": newer.ciphertext, "root_key_version": newer.version}
    keys = [k.model_copy(update=update) if k.id == entry.id else k for k in instance.properties.data_keys]
    await _write(context, scope, instance, {"dataKeys": [key.dump() for key in keys]})
    log.info("rewrapped", instance=scope.key[1], namespace=scope.key[0], data_key=entry.id[:8])
    await context.store.announce(
        instance.KIND,
        instance.metadata,
        Reason.DATA_KEY_REWRAPPED,
        f"data key {entry.id[:8]} is wrapped by version {newer.version}",
    )


async def retire(context: Context, scope: Scope, _: Retire) -> None:
    """Remove the Retiring keys that nothing names.

    The list begins after the instance was read with them Retiring, and the write is conditioned on that
    instance: whoever sealed since either shows in the list or fails.
    """
    instance = scope.instance
    active = instance.properties.active if instance is not None else None
    if instance is None or active is None:
        return
    await context.list_marts(scope)
    leaving = {key.id for key in instance.properties.data_keys if not key.active}
    free = retirable(leaving, active.id, scope.sealables.values())
    if not free:
        return
    kept = [key for key in instance.properties.data_keys if key.id not in free]
    await _write(context, scope, instance, {"dataKeys": [key.dump() for key in kept]})
    for key_id in sorted(free):
        context.data_keys.forget(key_id)
        log.info("retired", instance=scope.key[1], namespace=scope.key[0], data_key=key_id[:8])
    names = ", ".join(key_id[:8] for key_id in sorted(free))
    await context.store.announce(instance.KIND, instance.metadata, Reason.DATA_KEY_RETIRED, f"data key {names} removed")


async def rebuild(context: Context, scope: Scope, _: Rebuild) -> None:
    """Restore the properties from the wrapped keys that the envelopes carry themselves.

    Each is unwrapped before it is recorded: an envelope's header is not authenticated until it is opened.
    The key that most envelopes name becomes Active: with a single one nothing has to be re-encrypted. One
    whose root key refuses now is recorded too, after those that are proven: it may be needed later.
    """
    instance = await context.read_instance(scope)
    if instance.properties.data_keys:
        return
    named = _entries_of(await context.list_marts(scope), context.now_text())
    if not named:
        return
    proofs = [(entry, await _proven(context, scope, entry)) for entry in named]
    good = [entry for entry, proof in proofs if proof] + [entry for entry, proof in proofs if proof is None]
    if not good:
        text = "status.properties are lost, and no envelope's own wrapped key unwraps; give the passwords again"
        raise Refused(Reason.TAMPERED, text)
    active, *former = good[: MAX_RETIRING + 1]
    entries = (active.model_copy(update={"state": "Active"}), *former)
    properties = Properties(
        user_root_key_crn="" if active.root_key == GLOBAL else active.root_key,
        data_key_revision=instance.spec.data_key_revision,
        data_keys=entries,
        releases=instance.properties.releases,
    )
    await _write(context, scope, instance, properties.dump())
    text = f"status.properties were lost; {len(entries)} data keys were restored from the envelopes"
    log.warning("rebuilt", instance=scope.key[1], namespace=scope.key[0], data_keys=len(entries))
    await context.store.announce(instance.KIND, instance.metadata, Reason.PROPERTIES_REBUILT, text)


def _entries_of(sealables: Sequence[Sealable], now: str) -> list[DataKeyEntry]:
    named = Counter(s.envelope.data_key for s in sealables if s.envelope is not None)
    wrapped = {s.envelope.data_key: s.envelope.wrapped for s in sealables if s.envelope is not None}
    return [
        DataKeyEntry(
            id=key_id,
            root_key=wrapped[key_id].root_key,
            # Unknown of a customer's: the next look at the root key has it rewrapped, and so proven.
            root_key_version=version_in(wrapped[key_id].ciphertext) if wrapped[key_id].root_key == GLOBAL else "",
            wrapped=wrapped[key_id].ciphertext,
            state="Retiring",
            created_time=now,
        )
        for key_id, _ in named.most_common()
    ]


async def _proven(context: Context, scope: Scope, entry: DataKeyEntry) -> bool | None:
    """Whether a wrapped key unwraps to what its id commits to; None where its root key refuses to say."""
    try:
        await context.data_key(scope, entry)
    except Refused as error:
        return False if error.reason is Reason.TAMPERED else None
    return True


def _now(context: Context, scope: Scope) -> View:
    """What is known by now; whether another instance is before this one was asked when the step was planned."""
    return scope.view(context.clock.monotonic(), None, context.clock.now())


async def _write(context: Context, scope: Scope, instance: OpenScaleInstance, properties: dict[str, Any]) -> None:
    """Write properties, and in the same write what the status says because of them.

    Otherwise an instance would call itself Ready, on counts from before, for as long as it takes to report.
    """
    after = Properties.model_validate(instance.properties.dump() | properties)
    future = instance.model_copy(update={"status": instance.status.model_copy(update={"properties": after})})
    view = replace(_now(context, scope), instance=future)
    status = told(view, context.now_text()) | {"properties": properties}
    raw = await context.store.patch_status(instance.KIND, instance.metadata, status)
    scope.see_instance(OpenScaleInstance.of(raw))
    scope.last_report = context.clock.monotonic()


async def _unhold(context: Context, scope: Scope, held: OpenScaleInstance | RootKeyBinding) -> None:
    rest = [name for name in held.metadata.finalizers if name != FINALIZER]
    try:
        raw = await context.store.patch_finalizers(held.KIND, held.metadata, rest)
    except Missing:
        raw = {}
    gone = not raw or (held.metadata.deleting and not rest)
    if isinstance(held, RootKeyBinding):
        scope.see_binding(held if gone else RootKeyBinding.of(raw), gone=gone)
    else:
        scope.see_instance(None if gone else OpenScaleInstance.of(raw))


def _take(scope: Scope, kind: str, raw: dict[str, Any]) -> None:
    if kind == RootKeyBinding.KIND:
        scope.see_binding(RootKeyBinding.of(raw))
    else:
        scope.see_instance(OpenScaleInstance.of(raw))
