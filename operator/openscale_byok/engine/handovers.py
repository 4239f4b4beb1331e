"""A hand-over source is deleted while the object that was sealed from it is held by our finalizer.

The finalizer is put on by a compare-and-swap on the very state that was checked. Every delete is sent once, at once
after such a proof, and a further attempt begins with a proof of its own: the object may be another by now, and etcd
may have been put back under us. The finalizer comes off when the source is gone, or another by now: then a delete
that is on its way still, ours or another operator's, deletes nothing. Where the hand-over is given up, it comes off
once none can be on its way any more.
"""

from openscale_byok.core.sealable import NO_NOTE, Sealable
from openscale_byok.engine.audited import audited, consumed
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.readers import Readers
from openscale_byok.engine.scope import Scope, backoff
from openscale_byok.engine.source_looks import SourceLooks
from openscale_byok.errors import Changed, Missing, Refused, Unavailable
from openscale_byok.ports import BEGINS_SOON_SECONDS
from openscale_byok.reasons import Reason
from openscale_byok.resources import FINALIZER, SealedSource

PROVEN_SECONDS = 5.0
"""For so long a proof, or a delete that was answered, says how things are: what rests on it is asked for by then."""
BEGINS_SECONDS = PROVEN_SECONDS + BEGINS_SOON_SECONDS
"""A delete begins no later than this after its proof was asked for, and the finalizer comes off no later than this
after a delete that was answered began: less than it takes to put etcd back."""
ON_ITS_WAY_SECONDS = BEGINS_SECONDS + 90.0
"""After this a delete whose proof somebody had before has ended: our own calls end after 30 seconds, and the API server
ends each that reached it after 60."""


class HandOvers:
    """The hand-overs of one slice of work in one scope."""

    def __init__(self, context: Context, scope: Scope, looks: SourceLooks, readers: Readers) -> None:
        self._context = context
        self._scope = scope
        self._looks = looks
        self._readers = readers

    async def consume(self, sealable: Sealable, name: str, source: SealedSource) -> Sealable | None:
        """Delete the source that was sealed; the object as it is after that, or None: not now.

        Raises:
            Changed, Missing: the object is another by now, or gone; its source is still there.
        """
        try:
            with audited(self._context.audit, consumed(sealable, name)):
                held, asked = await self._prove(sealable)
                await self._delete(held, name, source)
        except Changed:
            raise
        except (Refused, Unavailable) as error:
            self._looks.looked(sealable, error, soon=True)
            return None
        log.info("handed over", name=sealable.meta.name, namespace=sealable.meta.namespace, secret=name)
        return await self._free(held, asked)

    async def freed(self, sealable: Sealable) -> Sealable | None:
        """The object without our finalizer, its source being gone when it was looked at; None: it is there again."""
        if not sealable.meta.ours:
            return sealable
        asked = self._context.clock.monotonic()
        if await self._over(sealable):
            return await self._free(sealable, asked)
        self._scope.note(sealable, source_looked=-1)
        return None

    async def _free(self, sealable: Sealable, asked: float) -> Sealable:
        """Take our finalizer off, for what was found not long ago: etcd was not put back since.

        Raises:
            Changed, Missing: as above; Missing, too, where it was being deleted and is gone with this.
        """
        if self._context.clock.monotonic() - asked > PROVEN_SECONDS:
            raise Changed(Reason.CHANGED_MEANWHILE, f"{sealable.kind} {sealable.meta.name} may be another by now")
        rest = [name for name in sealable.meta.finalizers if name != FINALIZER]
        found = await self._context.mark(self._scope, sealable, rest)
        if found is None:
            raise Missing(Reason.CHANGED_MEANWHILE, f"{sealable.kind} {sealable.meta.name} is gone")
        self._scope.note(found, idle_since=None, hold_due=0.0)
        return found

    async def unhold(self, sealable: Sealable) -> None:
        """Take our finalizer off what is held for nothing, once no delete of its source can be on its way."""
        now, note = self._context.clock.monotonic(), self._scope.notes.get(sealable.uid, NO_NOTE)
        generation, since = sealable.meta.generation, now
        if note.idle_since is not None and note.idle_since[0] == generation:
            since = note.idle_since[1]
        end = since + ON_ITS_WAY_SECONDS
        if now >= end or await self._over(sealable):
            await self._free(sealable, now)
            return
        tries = note.looks + 1
        due = min(end, now + backoff(tries, self._context.jitter()))
        self._scope.note(sealable, idle_since=(generation, since), hold_due=due, looks=tries)

    async def _prove(self, sealable: Sealable) -> tuple[Sealable, float]:
        """Hold it, so lately that a delete may begin, and when: who slept since the answer asks once more."""
        for _ in range(2):
            asked = self._context.clock.monotonic()
            sealable = await self._hold(sealable)
            if self._context.clock.monotonic() - asked <= PROVEN_SECONDS:
                return sealable, asked
        text = "the API server answers too slowly for a hand-over Secret to be deleted safely"
        raise Unavailable(Reason.CLUSTER_UNAVAILABLE, text)

    async def _hold(self, sealable: Sealable) -> Sealable:
        """Our finalizer on just the object that was checked; where it is on already, the proof that nothing changed.

        A resourceVersion alone proves nothing where etcd was put back: versions come again.
        """
        finalizers = sealable.meta.finalizers if sealable.meta.ours else (*sealable.meta.finalizers, FINALIZER)
        found = await self._context.mark(self._scope, sealable, finalizers)
        if found is None or not found.meta.ours or found.meta.deleting or not _same(sealable, found):
            raise Changed(Reason.CHANGED_MEANWHILE, f"{sealable.kind} {sealable.meta.name} is another by now")
        self._scope.note(found, idle_since=None, hold_due=0.0)
        return found

    async def _delete(self, held: Sealable, name: str, source: SealedSource) -> None:
        """One attempt. Where the source is gone already, all is well."""
        if self._readers.waiting(held):
            raise Changed(Reason.CHANGED_MEANWHILE, f"Secret {name} is needed by another since")
        try:
            await self._context.sources.delete(held.meta.namespace, name, source.uid, source.resource_version)
        except Missing:
            return
        except Changed:
            self._scope.note(held, source_looked=-1)  # another password lies there by now: it is sealed first
            raise

    async def _over(self, sealable: Sealable) -> bool:
        """Whether the source that was sealed is gone, or another by now."""
        source = sealable.sealed_source
        if source is None or not source.handover:
            return False
        name = source.name or (sealable.source_ref.name if sealable.source_ref is not None else "")
        try:
            found = await self._context.sources.read(sealable.meta.namespace, name)
        except Missing:
            return True
        except (Refused, Unavailable):
            return False
        return (found.uid, found.resource_version) != (source.uid, source.resource_version)


def _same(before: Sealable, now: Sealable) -> bool:
    """Whether it is the object that was checked: the same life of it, sealed as it was, for where it goes now."""
    texts = [s.envelope.text if s.envelope is not None else "" for s in (before, now)]
    same = before.uid == now.uid and texts[0] == texts[1] and before.sealed_source == now.sealed_source
    return same and not now.elsewhere and not now.unanswered
