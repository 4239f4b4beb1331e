"""Looks at sources: read after the object that names them, consumed only as they were sealed."""

import asyncio

from openscale_byok.core.sealable import NO_NOTE, Sealable
from openscale_byok.core.source import Source, password
from openscale_byok.engine.audited import audited, consumed
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.scope import Scope, backoff
from openscale_byok.errors import ByokError, Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason


class SourceLooks:
    """The looks of one slice of work in one scope. What each found is remembered in the scope's notes."""

    def __init__(self, context: Context, scope: Scope) -> None:
        self._context = context
        self._scope = scope
        self._reads: dict[str, asyncio.Task[Source]] = {}

    async def look(self, sealable: Sealable) -> tuple[bytes | None, Source | None]:
        """Read the source *after* the object: the other way round an old password could overwrite a newer one."""
        ref, namespace = sealable.source_ref, sealable.meta.namespace
        if ref is None:
            text = "spec.database.password: give the password through the gateway, or name a Secret in secretRef"
            self._looked(sealable, Missing(Reason.PASSWORD_NOT_GIVEN, text))
            return None, None
        try:
            source = await self._read_once(namespace, ref.name)
            secret = password(source, ref)
        except Missing:
            text = f"spec.database.password.secretRef: Secret {ref.name} does not exist in this namespace (yet)"
            self._looked(sealable, Missing(Reason.SECRET_NOT_FOUND, text))
        except (Refused, Unavailable) as error:
            self._looked(sealable, error)
        else:
            self._looked(sealable, None)
            return secret, source
        return None, None

    async def _read_once(self, namespace: str, name: str) -> Source:
        """One read of a Secret serves the whole slice: all of its objects were read before the step began."""
        read = self._reads.get(name)
        if read is None:
            read = self._reads[name] = asyncio.ensure_future(self._context.sources.read(namespace, name))
        return await asyncio.shield(read)

    async def consume(self, sealable: Sealable, name: str, uid: str, resource_version: str) -> bool:
        """Delete a hand-over source, if it is still the one that was sealed."""
        try:
            with audited(self._context.audit, consumed(sealable, name)):
                await self._context.sources.delete(sealable.meta.namespace, name, uid, resource_version)
        except Missing:
            pass
        except Changed:
            # Another password lies there by now: it is sealed first.
            self._scope.note(sealable, source_looked=-1)
            return False
        except (Refused, Unavailable) as error:
            self._looked(sealable, error)
            return False
        log.info("handed over", name=sealable.meta.name, namespace=sealable.meta.namespace, secret=name)
        return True

    def _looked(self, sealable: Sealable, trouble: ByokError | None) -> None:
        """Remember what a look at the source found. What is missing is looked for again soon, then more rarely."""
        note = self._scope.notes.get(sealable.uid, NO_NOTE)
        looks = note.looks + 1 if trouble is not None else note.looks
        self._scope.note(
            sealable,
            source_trouble=trouble,
            source_looked=sealable.meta.generation,
            source_due=self._due(looks, soon=trouble is not None and not sealable.ready),
            fresh=True,
            looks=looks,
        )

    def settled(self, sealable: Sealable, *, shared: bool) -> None:
        """Its condition says what was found. While another still needs the source, it is looked at again soon."""
        note = self._scope.notes.get(sealable.uid, NO_NOTE)
        looks = note.looks + 1 if shared else 0
        due = self._due(looks, soon=True) if shared else note.source_due
        self._scope.note(sealable, fresh=False, source_due=due, looks=looks)

    def _due(self, looks: int, *, soon: bool) -> float:
        jitter = self._context.jitter()
        refresh = self._context.tuning.source_refresh_seconds * (0.9 + jitter / 5)
        wait = min(refresh, backoff(looks, jitter)) if soon else refresh
        return self._context.clock.monotonic() + wait
