"""What must hold after every single change of the world: DESIGN, section 9.

An oracle of its own: it opens what is stored with the root keys themselves, whatever state they are in, and
relies on nothing that the engine believes.
"""

from dataclasses import dataclass, field

from openscale_byok.core.source import Source
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.global_versions import LEAVING, parse
from openscale_byok.errors import Refused
from openscale_byok.resources import (
    FINALIZER,
    GLOBAL,
    HANDOVER_KEY,
    DataMart,
    OpenScaleInstance,
    RootKeyBinding,
)

from .cluster import Cluster
from .operator import GLOBAL_KEY_SECRET, OWN_NAMESPACE
from .root_keys import Vault


@dataclass
class Checks:
    """Call it after every change."""

    cluster: Cluster
    vault: Vault
    strict: bool = True
    """Whether only recorded data keys count. An envelope's own wrapped key is for what backups may do."""
    newest: dict[str, bytes] = field(default_factory=dict)
    """The newest password of each data mart: what must never be lost."""
    _hosts: dict[bytes, set[str]] = field(default_factory=dict)
    _opened: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _sealed: dict[str, bytes | None] = field(default_factory=dict)

    def __call__(self) -> None:
        instances = {
            raw["metadata"]["name"]: OpenScaleInstance.of(raw) for raw in self.cluster.all("OpenScaleInstance")
        }
        marts = [DataMart.of(raw) for raw in self.cluster.all(DataMart.KIND)]
        for instance in instances.values():
            protects = any(m.spec.instance_ref.name == instance.metadata.name for m in marts)
            if protects or not instance.metadata.deleting:
                self._recorded(instance)
        for mart in marts:
            self._stored(mart, instances.get(mart.spec.instance_ref.name))

    def consumed(self, name: str, source: Source) -> None:
        """A hand-over source goes only while an object that names it holds its password, and is as it was checked."""
        marts = [DataMart.of(raw) for raw in self.cluster.all(DataMart.KIND)]
        refs = ((mart.metadata.name, mart.spec.database.password.secret_ref) for mart in marts)
        holders = [mart for mart, ref in refs if ref is not None and ref.name == name]
        held = {self._sealed.get(mart) for mart in holders}
        assert source.values.get(HANDOVER_KEY) in held, f"{name}: deleted, and none of {holders} holds what was in it"

    # What the user tells ---------------------------------------------------------------------------------

    def given(self, mart: str, password: bytes, host: str) -> None:
        """In the same moment a password is given, for this endpoint."""
        self.newest[mart] = password
        self.allow(password, host)

    def allow(self, password: bytes, host: str) -> None:
        """While its source exists a password may be sealed for another endpoint."""
        self._hosts.setdefault(password, set()).add(host)

    def forget(self, mart: str) -> None:
        """The data mart is deleted."""
        self.newest.pop(mart, None)

    def password_of(self, mart: str) -> bytes | None:
        """The password in a data mart's envelope, as last seen."""
        return self._sealed.get(mart)

    # What must hold --------------------------------------------------------------------------------------

    def _recorded(self, instance: OpenScaleInstance) -> None:
        """No recorded data key is under a root key that its owner believes to be free."""
        held = self._held(instance.metadata.name)
        for entry in instance.properties.data_keys:
            assert entry.root_key in held, f"a {entry.state} data key is under {entry.root_key}, which was released"
            assert self._unwrap(instance, entry.root_key, entry.wrapped).id == entry.id, "wrapped is another data key"

    def _stored(self, mart: DataMart, instance: OpenScaleInstance | None) -> None:
        name, sealed = mart.metadata.name, mart.status.sealed_password
        ref = mart.spec.database.password.secret_ref
        source = self.cluster.secrets.get((mart.metadata.namespace, ref.name if ref is not None else ""))
        there = source.values.get(HANDOVER_KEY) if source is not None else None
        opened, recorded = None, False
        if sealed is not None and instance is not None:
            envelope = envelopes.parse(sealed.envelope)
            assert envelope.data_key == sealed.data_key, "the status names another data key than the envelope"
            entry = instance.properties.find(envelope.data_key)
            recorded = entry is not None
            if entry is not None:
                opened = self._open(instance, envelope, entry.root_key, entry.wrapped)
            elif not self.strict and envelope.wrapped.root_key in self._held(instance.metadata.name):
                opened = self._open(instance, envelope, envelope.wrapped.root_key, envelope.wrapped.ciphertext)
            if opened is not None:
                host = envelope.context.endpoint.host
                assert host in self._hosts[opened], f"{name}: sealed for {host}, for which it was not given"
        self._sealed[name] = opened
        newest = self.newest.get(name)
        if newest is not None and instance is not None:
            assert newest in (opened, there), f"{name}: the newest password is lost"
        self._ready(mart, recorded=recorded and opened is not None)

    def _ready(self, mart: DataMart, *, recorded: bool) -> None:
        """Ready=True rests on an envelope that opens by what is recorded, for the spec of now."""
        status = mart.status
        ready = next((c for c in status.conditions if c.type == "Ready"), None)
        if ready is None or ready.status != "True":
            return
        assert recorded, f"{mart.metadata.name}: Ready, and does not open by what is recorded"
        assert status.sealed_password is not None
        if status.observed_generation == mart.metadata.generation:
            host = envelopes.parse(status.sealed_password.envelope).context.endpoint.host
            assert host == mart.spec.database.host, f"{mart.metadata.name}: Ready for another endpoint"

    # How -------------------------------------------------------------------------------------------------

    def _held(self, instance: str) -> set[str]:
        bindings = [RootKeyBinding.of(raw) for raw in self.cluster.all(RootKeyBinding.KIND, instance)]
        return {GLOBAL} | {b.root_key for b in bindings if FINALIZER in b.metadata.finalizers}

    def _open(
        self, instance: OpenScaleInstance, envelope: envelopes.Envelope, root_key: str, wrapped: str
    ) -> bytes | None:
        at = (envelope.text, wrapped)
        if at not in self._opened:
            key = self._unwrap(instance, root_key, wrapped)
            try:
                self._opened[at] = envelopes.open_(envelope, key, envelope.context)
            except Refused:
                return None
        return self._opened[at]

    def _unwrap(self, instance: OpenScaleInstance, root_key: str, wrapped: str) -> DataKey:
        aad = ("openscale-byok", instance.spec.service_instance_id)
        if root_key != GLOBAL:
            return self.vault.key(root_key).unwrap(wrapped, aad)
        values = self.cluster.secrets[OWN_NAMESPACE, GLOBAL_KEY_SECRET].values
        # A version that was set aside opens nothing for the operator, and is not lost: so it is with every root key.
        return parse({name.removeprefix(LEAVING): raw for name, raw in values.items()}).unwrap(wrapped, aad)
