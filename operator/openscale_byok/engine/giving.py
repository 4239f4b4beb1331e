"""A password that a request gives. The request plays the source's part: until the check nobody else has it.

So it is kept in memory until the data key that sealed it was seen to be still Active after the seal was stored
(docs/architecture.md, "The key protocol"); only then is the request answered.
"""

import secrets

from openscale_byok.core.conditions import checking_seal, saying
from openscale_byok.core.departures import endpoint_of, proof_of
from openscale_byok.core.findings import first_seals_wait, newer
from openscale_byok.core.sealable import as_stored, from_datamart
from openscale_byok.core.view import choose
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.context import Endpoint, Proof
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped
from openscale_byok.crypto.jwe import NONCE_BYTES
from openscale_byok.engine.context import Context
from openscale_byok.engine.reader import Reader
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.errors import Changed, Refused, Unavailable
from openscale_byok.ports import Objects
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    PROPERTIES_FORMAT,
    DataKeyEntry,
    DataMart,
    OpenScaleInstance,
    SealedSource,
)

TRIES = 5
"""How often a seal begins anew because the object or the Active data key changed meanwhile."""
LOOK_SECONDS = 5.0
"""How long a password waits for a look at the root key, where this replica has just heard of it."""
FIRST_DATA_KEY_SECONDS = 10.0
"""How long the first password of an instance waits for the operator to make a data key."""


class Giving:
    """Seals what requests give, with a writer's care and no right but to write a data mart's status."""

    def __init__(self, context: Context, reader: Reader, objects: Objects) -> None:
        self._context = context
        self._reader = reader
        self._objects = objects

    async def ready(self, key: Key) -> None:
        """Whether a password for this instance could be sealed now, as far as that can be told before it is stored.

        Raises:
            Refused: a clear no of the root key, or the instance is not to be written.
            Unavailable: no root key is usable yet, or no answer.
        """
        scope = self._reader.world.scope(key)
        entry = self._expect(scope)
        if entry is not None:
            await self._usable(scope, entry)

    async def give(self, seen: DataMart, password: bytes) -> DataMart:
        """Seal a password for where a data mart goes; the data mart as stored.

        Args:
            seen: the data mart as whoever gives the password saw it: it goes to that endpoint, proven as it says, and
                to no other.
            password: what to seal.

        Raises:
            Refused: a clear no; nothing was stored.
            Changed: the data mart is another by now, or goes elsewhere; nothing was stored.
            Unavailable: no answer, or no data key yet; what was stored before is still there, and the password may be
                given again.
            Missing: there is no such data mart.
        """
        namespace, name = seen.key
        for _ in range(TRIES):
            # Read before the instance: what is sealed goes where the object said at the moment it was read.
            mart = await self._objects.datamart(namespace, name)
            if _goes(mart) != _goes(seen):
                text = f"DataMart {name} goes elsewhere than when its password was given; look, and give it again"
                raise Changed(Reason.CHANGED_MEANWHILE, text)
            scope = self._reader.world.scope(mart.instance_key)
            await self._reader.read_instance(scope)
            entry, key = await self._active(scope)
            try:
                stored = await self._seal(scope, mart, password, entry, key)
            except Changed:
                continue
            if await self._still_active(scope, entry):
                return stored
        raise Unavailable(Reason.CHANGED_MEANWHILE, f"DataMart {name} or its data key is being changed; try again")

    async def _active(self, scope: Scope) -> tuple[DataKeyEntry, DataKey]:
        entry = self._expect(scope)
        if entry is None:
            # The operator makes one as soon as it sees the data mart.
            await self._reader.until(lambda: self._expect(scope) is not None, FIRST_DATA_KEY_SECONDS)
            entry = self._expect(scope)
        if entry is None:
            raise Unavailable(Reason.WAITING_FOR_ROOT_KEY, "the instance has no data key yet; its conditions say why")
        return entry, await self._usable(scope, entry)

    async def _usable(self, scope: Scope, entry: DataKeyEntry) -> DataKey:
        """The data key, by the right of a root key that is looked at: before it is unwrapped, and after.

        Sealing under a root key that was refused would hide a password from the owner of the data mart; and that it
        was not, only a look from after the last pause of this process tells.
        """
        if not self._looked_at(scope, entry):
            await self._reader.until(lambda: self._looked_at(scope, entry), LOOK_SECONDS)
        self._reader.expect_looked_at(scope, entry)
        key = await self._context.data_key(scope, entry)
        self._reader.expect_looked_at(scope, entry)
        return key

    def _looked_at(self, scope: Scope, entry: DataKeyEntry) -> bool:
        try:
            self._reader.expect_looked_at(scope, entry)
        except Unavailable:
            return False
        except Refused:
            return True
        return True

    def _expect(self, scope: Scope) -> DataKeyEntry | None:
        """The Active data key, where it may seal now; None where there is none yet."""
        instance = self._instance(scope)
        clock = self._context.clock
        view = scope.view(clock.monotonic(), self._reader.world.conflict(scope.key), clock.now())
        active = instance.properties.active
        if active is None:
            return None
        if first_seals_wait(view):
            choice = choose(view)
            text = choice.message or "the root key that is to come into force has no data key yet"
            raise Unavailable(choice.reason if choice.message else Reason.ROOT_KEY_CHANGED, text)
        return active

    def _instance(self, scope: Scope) -> OpenScaleInstance:
        instance, name = scope.instance, scope.key[1]
        if instance is None:
            raise Unavailable(Reason.INSTANCE_NOT_FOUND, f"OpenScaleInstance {name} does not exist (any more)")
        conflict = self._reader.world.conflict(scope.key)
        if conflict is not None:
            raise conflict
        if instance.properties.format > PROPERTIES_FORMAT:
            raise Refused(Reason.NEWER_FORMAT, f"the properties of OpenScaleInstance {name} have a newer format")
        if instance.metadata.deleting:
            raise Refused(Reason.DELETING, f"OpenScaleInstance {name} is being deleted")
        if instance.spec.suspend:
            raise Unavailable(Reason.SUSPENDED, f"OpenScaleInstance {name} is suspended (spec.suspend)")
        return instance

    async def _seal(self, scope: Scope, mart: DataMart, password: bytes, entry: DataKeyEntry, key: DataKey) -> DataMart:
        sealable = from_datamart(mart, self._instance(scope).spec.service_instance_id)
        if newer(sealable):
            raise Refused(Reason.NEWER_FORMAT, f"the password of DataMart {mart.metadata.name} has a newer format")
        if sealable.ca_trouble is not None:
            raise sealable.ca_trouble
        before = sealable.sealed_source
        number = (before.revision or 0) + 1 if before is not None and before.given else 1
        wrapped, nonce = Wrapped(entry.root_key, entry.wrapped), secrets.token_bytes(NONCE_BYTES)
        envelope = envelopes.sealed(password, key, sealable.context, wrapped, nonce)
        now = self._context.now_text()
        sealed = as_stored(envelope, now, SealedSource(given=True, revision=number))
        status = {"sealedPassword": sealed, **saying(sealable, checking_seal(), now)}
        stored = DataMart.of(await self._context.store.patch_status(DataMart.KIND, mart.metadata, status))
        for observer in self._context.work:
            observer.sealed("seal")
        return stored

    async def _still_active(self, scope: Scope, entry: DataKeyEntry) -> bool:
        """Read after the seal was stored: while the key is still Active, no other writer has moved on."""
        instance = await self._reader.read_instance(scope)
        active = instance.properties.active
        return active is not None and active.id == entry.id


def _goes(mart: DataMart) -> tuple[str, Endpoint, Proof]:
    """Which object it is, where its password goes, and how the server there is proven."""
    return mart.metadata.uid, endpoint_of(mart), proof_of(mart)
