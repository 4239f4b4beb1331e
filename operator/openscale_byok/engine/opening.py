"""Opening a sealed password for a reader. What a root key refuses is refused here, whatever is still in memory.

An opening waits for no pass, and is never the reason that a data key stays longer. It may go on while Key
Protect cannot be reached, until the data key's hard limit; it may not while nobody looks.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from openscale_byok.core.sealable import NO_NOTE, Manner, Sealable
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.context import Endpoint
from openscale_byok.crypto.envelope import Envelope
from openscale_byok.engine.context import GLOBAL_HOLDER, Context, refusal
from openscale_byok.engine.key_poll import KeyPoll
from openscale_byok.engine.scope import Scope
from openscale_byok.engine.world import World
from openscale_byok.errors import Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import PROPERTIES_FORMAT, DataKeyEntry, OpenScaleInstance, RootKeyBinding

TRIES = 3
"""How often an opening begins anew because its object was written while a data key was unwrapped."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A password, and the one endpoint that it was given for."""

    secret: bytes = field(repr=False)
    endpoint: Endpoint
    data_key: str
    revision: int
    """The revision of the spec that the password answers."""
    manner: Manner
    root_key: str
    tag: str
    """Stands for just this envelope, and how it is used: a password that was sealed anew has another."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """Why an opening is allowed, at one moment."""

    scope: Scope
    sealable: Sealable
    envelope: Envelope
    entry: DataKeyEntry
    holder: str

    def same(self, other: "_Ground") -> bool:
        """Whether it is still about the same envelope, by the same right."""
        return self.envelope.text == other.envelope.text and self.holder == other.holder


class Opening:
    """Opens the passwords of every scope."""

    def __init__(self, context: Context, world: World, poll: KeyPoll) -> None:
        self._context = context
        self._world = world
        self._poll = poll

    async def open(self, kind: str, namespace: str, name: str) -> Opened:
        """See `Following.open`."""
        for _ in range(TRIES):
            before = self._ground(kind, namespace, name)
            key = await self._context.data_key(before.scope, before.entry)
            # A refusal may have come while that waited. From here on nothing waits any more.
            now = self._ground(kind, namespace, name)
            if now.same(before):
                secret = envelopes.open_(now.envelope, key, now.sealable.context)
                return _opened(now, secret)
        raise Unavailable(Reason.CHANGED_MEANWHILE, f"{kind} {name} is being written; try again")

    def _ground(self, kind: str, namespace: str, name: str) -> _Ground:
        """What allows an opening now. It waits for nothing, and reads what the poll learned last."""
        found = self._world.find(kind, namespace, name)
        if found is None:
            if any(not scope.read for key, scope in self._world.scopes.items() if key[0] == namespace):
                raise Unavailable(Reason.CHANGED_MEANWHILE, f"namespace {namespace} is being read; try again")
            raise Missing(Reason.CHANGED_MEANWHILE, f"{kind} {name} does not exist in namespace {namespace}")
        scope, sealable = found
        instance = self._instance(scope, sealable)
        if sealable.context.instance != instance.spec.service_instance_id:
            text = f"OpenScaleInstance {sealable.instance} is another by now; what names it is read anew"
            raise Unavailable(Reason.CHANGED_MEANWHILE, text)
        envelope = _envelope(sealable)
        sealable.expect_kept()
        entry = instance.properties.find(envelope.data_key)
        if entry is None:
            raise _unknown(scope, sealable, envelope)
        return _Ground(scope, sealable, envelope, entry, self.holder(scope, entry))

    def _instance(self, scope: Scope, sealable: Sealable) -> OpenScaleInstance:
        """The instance that it belongs to. One that is being deleted or suspended still opens what it holds."""
        instance = scope.instance
        if instance is None:
            text = f"spec.instanceRef: OpenScaleInstance {sealable.instance} does not exist in this namespace (yet)"
            raise Unavailable(Reason.INSTANCE_NOT_FOUND, text)
        conflict = self._world.conflict(scope.key)
        if conflict is not None:
            raise conflict
        if instance.properties.format > PROPERTIES_FORMAT:
            raise Refused(Reason.NEWER_FORMAT, "the instance's properties have a newer format; run the newer operator")
        return instance

    def holder(self, scope: Scope, entry: DataKeyEntry) -> str:
        """By whose right the data key is used: a root key that is looked at, and was not refused.

        Raises:
            Refused: it was; or no binding names it.
            Unavailable: it was not looked at lately.
        """
        binding = self._binding(scope, entry)
        holder = binding.metadata.uid if binding is not None else GLOBAL_HOLDER
        standing = scope.keys.get(holder)
        if standing is not None and standing.refused:
            raise refusal(standing).with_traceback(None)
        if standing is None or not self._poll.watches(scope, holder):
            whose = (
                f"the root key of RootKeyBinding {binding.metadata.name}" if binding is not None else "the global key"
            )
            raise Unavailable(Reason.CHECKING_KEY, f"{whose} was not looked at lately; try again")
        return holder

    def _binding(self, scope: Scope, entry: DataKeyEntry) -> RootKeyBinding | None:
        """Whose credentials the data key is unwrapped with; nobody's under the global key.

        Whoever recorded the data key saw its binding before. Only a list from after that shows that it is gone: the
        watch of the bindings may be behind that of the instances, and to be told of a refusal costs a reader what it
        has.
        """
        try:
            return self._context.kms(scope, entry.root_key)[1]
        except Refused as error:
            instance = scope.instance
            behind = instance is not None and scope.listed_bindings < instance.metadata.version
            if error.reason is not Reason.NO_BINDING or not behind:
                raise
        self._world.doubt(scope.key)
        text = f"the RootKeyBindings of OpenScaleInstance {scope.key[1]} are being read; try again"
        raise Unavailable(Reason.CHECKING_KEY, text)


def _envelope(sealable: Sealable) -> Envelope:
    if sealable.flaw is not None:
        raise sealable.flaw.with_traceback(None)
    if sealable.envelope is None:
        text = f"{sealable.kind} {sealable.meta.name} is not sealed yet; its conditions say what it waits for"
        raise Unavailable(Reason.SEALING, text)
    return sealable.envelope


def _unknown(scope: Scope, sealable: Sealable, envelope: Envelope) -> Refused | Unavailable:
    """The data key is not recorded: a view that is old, unless the engine has read everything anew and says so."""
    note = scope.notes.get(sealable.uid, NO_NOTE)
    if note.judged == envelope.text and note.broken is not None:
        return Refused(note.broken.reason, note.broken.message)
    return Unavailable(Reason.CHANGED_MEANWHILE, "the envelope's data key is not recorded in what was read last")


def _opened(ground: _Ground, secret: bytes) -> Opened:
    source, manner = ground.sealable.sealed_source, ground.sealable.manner
    told = "\0".join((ground.envelope.text, manner.tls, manner.schema, manner.ca_bundle or ""))
    return Opened(
        secret=secret,
        endpoint=ground.envelope.context.endpoint,
        data_key=ground.envelope.data_key,
        manner=manner,
        root_key=ground.entry.root_key,
        revision=(source.revision or 0) if source is not None else 0,
        tag=sha256(told.encode()).hexdigest()[:32],
    )
