"""Looks at sources: read after the object that names them."""

import asyncio

from openscale_byok.core.sealable import NO_NOTE, Sealable
from openscale_byok.core.source import Source, password
from openscale_byok.engine.context import Context
from openscale_byok.engine.readers import Readers
from openscale_byok.engine.scope import Scope, backoff
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason


class SourceLooks:
    """The looks of one slice of work in one scope. What each found is remembered in the scope's notes."""

    def __init__(self, context: Context, scope: Scope, readers: Readers) -> None:
        self._context = context
        self._scope = scope
        self._readers = readers
        self._reads: dict[str, asyncio.Task[Source]] = {}

    async def look(self, sealable: Sealable) -> tuple[bytes | None, Source | None]:
        """Read the source *after* the object: the other way round an old password could overwrite a newer one."""
        ref, namespace = sealable.source_ref, sealable.meta.namespace
        if sealable.ca_trouble is not None:
            self.looked(sealable, sealable.ca_trouble)  # nothing could prove the server: nothing is sealed for it
            return None, None
        if ref is None:
            text = "spec.database.password: give the password through the gateway, or name a Secret in secretRef"
            self.looked(sealable, Missing(Reason.PASSWORD_NOT_GIVEN, text))
            return None, None
        try:
            source = await self._read_once(namespace, ref.name)
            secret = password(source, ref)
        except Missing:
            self.looked(sealable, Missing(Reason.SECRET_NOT_FOUND, self._absent(namespace, ref.name)))
        except (Refused, Unavailable) as error:
            self.looked(sealable, error)
        else:
            self.looked(sealable, None)
            return secret, source
        return None, None

    def _absent(self, namespace: str, name: str) -> str:
        """Why a Secret is not there, as far as that is known."""
        reader, where = self._readers.handed_over_to(namespace, name), "spec.database.password.secretRef"
        if not reader:
            return f"{where}: Secret {name} does not exist in this namespace (yet)"
        return (
            f"{where}: Secret {name} was handed over to DataMart {reader}, and consumed; "
            "give the password again in a Secret of that name, or name another"
        )

    async def _read_once(self, namespace: str, name: str) -> Source:
        """One read of a Secret serves the whole slice: all of its objects were read before the step began."""
        read = self._reads.get(name)
        if read is None:
            read = self._reads[name] = asyncio.ensure_future(self._context.sources.read(namespace, name))
        return await asyncio.shield(read)

    def looked(self, sealable: Sealable, trouble: ByokError | None, *, soon: bool = False) -> None:
        """Remember what a look at the source found. What is missing is looked for again soon, then more rarely."""
        note = self._scope.notes.get(sealable.uid, NO_NOTE)
        looks = note.looks + 1 if trouble is not None else note.looks
        self._scope.note(
            sealable,
            source_trouble=trouble,
            source_looked=sealable.meta.generation,
            source_due=self._due(looks, soon=soon or (trouble is not None and not sealable.ready)),
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
