"""The steps over secrets: verify, seal, confirm, re-encrypt, recover, mark stuck.

Each takes a slice. An object that changed meanwhile is left alone and looked at again on the next pass; one
that is gone is forgotten.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from openscale_byok.core.conditions import Wanted, checking_seal, confirmed, saying, shredded
from openscale_byok.core.findings import shreds
from openscale_byok.core.sealable import NO_NOTE, Sealable, Standing, as_stored
from openscale_byok.core.source import Source
from openscale_byok.core.steps import Batch, Confirm, MarkStuck, Recover, ReEncrypt, Seal, Shred, Unhold, Verify
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.context import Context as SealContext
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped
from openscale_byok.crypto.jwe import NONCE_BYTES
from openscale_byok.engine.audited import audited, destroyed
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.handovers import HandOvers
from openscale_byok.engine.readers import Readers
from openscale_byok.engine.scope import Scope
from openscale_byok.engine.source_looks import SourceLooks
from openscale_byok.errors import ByokError, Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataKeyEntry, SealedSource


class SealSteps:
    """The steps over the secrets of one scope."""

    def __init__(self, context: Context, scope: Scope, readers: Readers) -> None:
        self._context = context
        self._scope = scope
        self._readers = readers
        self._looks = SourceLooks(context, scope, readers)
        self._handovers = HandOvers(context, scope, self._looks, readers)
        self.relist = False

    # Steps --------------------------------------------------------------------------------------------

    async def verify(self, step: Verify) -> None:
        """Open what this process has not seen open: pure work once the data keys are here."""
        keys = await self._keys(step)
        for sealable in step.sealables:
            envelope = sealable.envelope
            key = keys.get(envelope.data_key) if envelope is not None else None
            if envelope is None or key is None:
                continue
            try:
                envelopes.open_(envelope, key, envelope.context)
            except Refused as error:
                self._judge(sealable, envelope.text, error)
            else:
                self._judge(sealable, envelope.text)

    async def seal(self, step: Seal) -> None:
        """Look at each source, and seal what it holds where that is called for."""
        active = await self._active()
        if active is not None:
            await self._each(step, lambda s: self._look_and_seal(s, *active))

    async def confirm(self, step: Confirm) -> None:
        """Read the instance again, after the seals were stored: one read serves the whole slice.

        While the data key that they name is still Active, no other writer has moved on; only now are they
        Ready, and only now is a hand-over source consumed.
        """
        instance = await self._context.read_instance(self._scope)
        active = instance.properties.active
        good = tuple(
            s
            for s in step.sealables
            if active is not None and s.envelope is not None and s.envelope.data_key == active.id
        )
        await self._each(Confirm(good), self._confirm_one)

    async def unhold(self, step: Unhold) -> None:
        """Take our finalizer off what no hand-over needs held any more."""
        await self._each(step, self._handovers.unhold)

    async def re_encrypt(self, step: ReEncrypt) -> None:
        """Open with the key that the envelope names, seal with Active; what it is bound to stays as it is.

        The context is the envelope's own, authenticated by opening it: re-encryption can neither widen nor
        redirect what was sealed. Only of a v1, which was bound to no proof, the object says what it is to be.
        """
        active = await self._active()
        if active is None:
            return
        entry, key = active
        keys = await self._keys(step)

        async def one(sealable: Sealable) -> None:
            envelope, given_for = sealable.envelope, sealable.given_for
            old = keys.get(envelope.data_key) if envelope is not None else None
            if envelope is None or given_for is None or old is None:
                return
            try:
                secret = envelopes.open_(envelope, old, envelope.context)
            except Refused as error:
                self._judge(sealable, envelope.text, error)
                return
            await self._store(sealable, entry, key, secret, given_for, {}, how="re-encrypt")

        await self._each(step, one)
        log.info("re-encrypted", instance=self._scope.key[1], namespace=self._scope.key[0], data_key=entry.id[:8])

    async def recover(self, step: Recover) -> None:
        """An unknown data key: look again; then the source; then the envelope's own wrapped key."""
        known = self._scope.instance
        instance = await self._context.read_instance(self._scope)
        if known is None or instance.metadata.version > known.metadata.version:
            return  # my view was old: plan anew
        for sealable in step.sealables:
            self._scope.note(sealable, mark_read=sealable.stuck_under or "")
        lost = Recover(tuple(s for s in step.sealables if s.standing(instance.properties) is Standing.UNKNOWN))
        active = await self._active()
        if active is not None:
            await self._each(lost, lambda s: self._recover_one(s, *active))

    async def mark_stuck(self, step: MarkStuck) -> None:
        """Write down under which Active key these could not be opened."""
        active = self._scope.instance.properties.active if self._scope.instance else None
        if active is None:
            return

        async def one(sealable: Sealable) -> None:
            await self._context.write(self._scope, sealable, {"sealedPassword": {"stuckUnder": active.id}})

        await self._each(step, one)

    async def shred(self, step: Shred) -> None:
        """Destroy sealed passwords, by their owner's word, which is asked for once more: it can be taken back."""
        await self._context.read_instance(self._scope)
        clock = self._context.clock
        view = self._scope.view(clock.monotonic(), None, clock.now())
        if not shreds(view):
            return

        async def one(sealable: Sealable) -> None:
            status = self._status(sealable, shredded(view, sealable))
            with audited(self._context.audit, destroyed(sealable)):
                await self._context.write(self._scope, sealable, {"sealedPassword": None, **status})

        await self._each(step, one)

    # One object ---------------------------------------------------------------------------------------

    async def _look_and_seal(self, sealable: Sealable, entry: DataKeyEntry, key: DataKey) -> None:
        secret, source = await self._looks.look(sealable)
        if secret is None or source is None or self._already(sealable, secret, source, key):
            return
        await self._seal_source(sealable, secret, source, entry, key)

    async def _seal_source(
        self, sealable: Sealable, secret: bytes, source: Source, entry: DataKeyEntry, key: DataKey
    ) -> None:
        ref = sealable.source_ref
        origin = SealedSource(
            uid=source.uid,
            resource_version=source.resource_version,
            handover=source.handover,
            name=ref.name if ref is not None else None,
            key=ref.key if ref is not None else None,
            revision=sealable.revision,
        )
        status = self._status(sealable, checking_seal())
        await self._store(sealable, entry, key, secret, sealable.context, status, origin)

    def _already(self, sealable: Sealable, secret: bytes, source: Source, key: DataKey) -> bool:
        """Whether just this is sealed already, for the endpoint of now: under Active, or soon by re-encryption.

        The latter only where the Secret is the very one that was sealed for this spec, and the envelope opens:
        sealing it here would cost a second write, and take Ready away from an object that never stopped to be so.
        """
        envelope, before = sealable.envelope, sealable.sealed_source
        if envelope is None or before is None or sealable.elsewhere or sealable.unanswered:
            return False
        if envelope.data_key != key.id:
            same = (before.uid, before.resource_version) == (source.uid, source.resource_version)
            note = self._scope.notes.get(sealable.uid, NO_NOTE)
            opens = note.judged == envelope.text and note.broken is None and envelope.data_key not in self._scope.closed
            return same and opens and sealable.ready
        if source.handover and (before.uid, before.resource_version) != (source.uid, source.resource_version):
            return False  # the delete's preconditions must name the Secret that was sealed
        try:
            return hmac.compare_digest(envelopes.open_(envelope, key, sealable.context), secret)
        except Refused:
            return False

    async def _confirm_one(self, sealable: Sealable) -> None:
        note, kept_until = self._scope.notes.get(sealable.uid, NO_NOTE), ""
        source = sealable.sealed_source
        name = _named(sealable)
        if source is not None and source.handover and name and not isinstance(note.source_trouble, Missing):
            kept_until = self._readers.waiting(sealable)
            if not kept_until:
                consumed = await self._handovers.consume(sealable, name, source)
                if consumed is None:
                    return
                sealable = consumed
        elif isinstance(note.source_trouble, Missing):
            freed = await self._handovers.freed(sealable)
            if freed is None:
                return
            sealable = freed
        status = self._status(sealable, confirmed(sealable, note, kept_until=kept_until))
        if status:
            await self._context.write(self._scope, sealable, status)
        self._looks.settled(sealable, shared=bool(kept_until))

    async def _recover_one(self, sealable: Sealable, entry: DataKeyEntry, key: DataKey) -> None:
        envelope, given_for = sealable.envelope, sealable.given_for
        if envelope is None or given_for is None:
            return
        secret, source = await self._looks.look(sealable)
        if secret is not None and source is not None:
            await self._seal_source(sealable, secret, source, entry, key)
            return
        try:
            wrapped = envelope.wrapped
            old = await self._context.unwrap(self._scope, envelope.data_key, wrapped.root_key, wrapped.ciphertext)
            opened = envelopes.open_(envelope, old, envelope.context)
        except Refused as error:
            text = f"the data key of its envelope is recorded nowhere, and {error.message}"
            self._judge(sealable, envelope.text, Refused(Reason.UNKNOWN_DATA_KEY, text))
        except Unavailable as error:
            self._closed(envelope.data_key, error)
        else:
            self._scope.closed.pop(envelope.data_key, None)
            status = self._status(sealable, checking_seal())
            await self._store(sealable, entry, key, opened, given_for, status, how="recover")

    async def _store(
        self,
        sealable: Sealable,
        entry: DataKeyEntry,
        key: DataKey,
        secret: bytes,
        bound_to: SealContext,
        status: dict[str, Any],
        origin: SealedSource | None = None,
        how: Literal["seal", "re-encrypt", "recover"] = "seal",
    ) -> None:
        wrapped = Wrapped(entry.root_key, entry.wrapped)
        envelope = envelopes.sealed(secret, key, bound_to, wrapped, secrets.token_bytes(NONCE_BYTES))
        sealed = as_stored(envelope, self._context.now_text(), origin)
        self._judge(sealable, envelope.text)
        # With nothing but the envelope changed, what is stored is known without reading it back.
        written = replace(sealable, envelope=envelope, first_seen=None, stuck_under=None)
        after = None if status or origin is not None else written
        await self._context.write(self._scope, sealable, {"sealedPassword": sealed, **status}, after)
        for observer in self._context.work:
            observer.sealed(how)

    # Small things -------------------------------------------------------------------------------------

    async def _each(self, step: Batch, work: Callable[[Sealable], Awaitable[None]]) -> None:
        """Work on each. Trouble with the API server ends the slice, and is raised once, at its end.

        So is it where every one of them changed meanwhile: what is known then may be older than the cluster for long.
        """
        failures: list[ByokError] = []
        changed: list[Changed] = []

        async def guarded(sealable: Sealable) -> None:
            if failures:
                return
            try:
                await work(sealable)
            except Changed as error:
                changed.append(error)
                self.relist = True
            except Missing:
                self._scope.forget(sealable)
            except (Refused, Unavailable) as error:
                failures.append(error)

        await self._context.in_flight(step.sealables, guarded)
        if failures:
            raise failures[0]
        if changed and len(changed) == len(step.sealables):
            raise changed[0]

    async def _active(self) -> tuple[DataKeyEntry, DataKey] | None:
        entry = self._scope.instance.properties.active if self._scope.instance else None
        if entry is None:
            return None
        key = await self._open_key(entry)
        return None if key is None else (entry, key)

    async def _keys(self, step: Batch) -> dict[str, DataKey]:
        """The data keys that a slice names, each unwrapped once; those that cannot be are closed for now."""
        named = {s.envelope.data_key for s in step.sealables if s.envelope is not None}
        properties = self._scope.instance.properties if self._scope.instance else None
        entries = [entry for entry in properties.data_keys if entry.id in named] if properties else []
        return {entry.id: key for entry in entries if (key := await self._open_key(entry)) is not None}

    async def _open_key(self, entry: DataKeyEntry) -> DataKey | None:
        try:
            key = await self._context.data_key(self._scope, entry)
        except (Refused, Unavailable) as error:
            self._closed(entry.id, error)
            return None
        self._scope.closed.pop(entry.id, None)
        return key

    def _closed(self, key_id: str, error: ByokError) -> None:
        log.warning("data key closed", data_key=key_id[:8], instance=self._scope.key[1], reason=error.reason.value)
        now, jitter = self._context.clock.monotonic(), self._context.jitter()
        before = self._scope.closed.get(key_id)
        if isinstance(error, Refused) and not (before is not None and isinstance(before.error, Refused)):
            # From now on only the sources can help: whether they are there is not a thing to find out in five minutes.
            for sealable in self._scope.sealables.values():
                if sealable.envelope is not None and sealable.envelope.data_key == key_id:
                    self._scope.note(sealable, source_due=now)
        self._scope.fail(self._scope.closed, key_id, error, now, jitter)

    def _judge(self, sealable: Sealable, text: str, broken: Refused | None = None) -> None:
        self._scope.note(sealable, judged=text, broken=broken)

    def _status(self, sealable: Sealable, wanted: tuple[Wanted, ...]) -> dict[str, Any]:
        return saying(sealable, wanted, self._context.now_text())


def _named(sealable: Sealable) -> str:
    """The Secret that the spec names now, or that was named when it was sealed."""
    if sealable.source_ref is not None:
        return sealable.source_ref.name
    return (sealable.sealed_source.name or "") if sealable.sealed_source is not None else ""
