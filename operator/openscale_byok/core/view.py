"""What is observed of one instance, and the choice of its root key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from openscale_byok.core.key_state import KeyLook
from openscale_byok.core.sealable import NO_NOTE, Note, Sealable, Standing
from openscale_byok.errors import ByokError, Changed, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, OpenScaleInstance, Properties, RootKeyBinding


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """What is known of a binding's root key: the last answer, and what the last call said instead of one."""

    look: KeyLook | None = None
    trouble: ByokError | None = None
    expiring: bool = False
    """Whether an active root key expires within the notice: said while another can still take over in peace."""

    @property
    def refused(self) -> bool:
        """Whether there was a clear no: by Key Protect, by IAM, or by the key's own state."""
        return isinstance(self.trouble, Refused) or (self.look is not None and not self.look.state.unwraps)

    @property
    def wraps(self) -> bool:
        """Whether a new data key may be asked of it."""
        return not self.refused and self.look is not None and self.look.state.wraps


UNCHECKED = KeyStanding()


@dataclass(frozen=True)
class View:
    """Everything that a plan for one instance rests on."""

    namespace: str
    name: str
    instance: OpenScaleInstance | None
    conflict: Refused | None = None
    """Why it does not have the service instance id that it claims."""
    bindings: tuple[RootKeyBinding, ...] = ()
    """Those that are looked at; see `shortlist`."""
    beyond: tuple[RootKeyBinding, ...] = ()
    """Others, which still have to be told so, or let go."""
    keys: Mapping[str, KeyStanding] = field(default_factory=dict)
    """By the binding's uid; the global key's by `GLOBAL`."""
    sealables: tuple[Sealable, ...] = ()
    notes: Mapping[str, Note] = field(default_factory=dict)
    """By the sealable's uid."""
    closed: Mapping[str, ByokError] = field(default_factory=dict)
    """Data keys (by id) that could not be unwrapped when last tried. A clear no stays known until the next try says
    something else: were it forgotten when that try is due, the statuses would flip at each of them."""
    shut: frozenset[str] = frozenset()
    """Those of them that are not to be tried again yet."""
    troubles: Mapping[str, ByokError] = field(default_factory=dict)
    """What went wrong at the last try of a step, by the step's subject; while it is here the step waits."""
    now: float = 0.0
    """Monotonic seconds."""
    today: datetime | None = None
    """The wall clock, for dates that somebody set. Without it no date has come."""
    minimum_retention_days: int = 0
    """How long `Shred` waits at least, by the operator's owner."""
    last_report: float = float("-inf")
    """When this instance's status was last written."""
    disputed: Mapping[str, float] = field(default_factory=dict)
    """Objects (by uid) whose status another writer corrects: until when it is left as it is."""

    @property
    def properties(self) -> Properties:
        """The instance properties."""
        return self.instance.properties if self.instance else Properties()

    @cached_property
    def standings(self) -> tuple[tuple[Sealable, Standing], ...]:
        """Each sealable and how it stands; found once, since every check of a plan asks."""
        active = {entry.id: entry.active for entry in self.properties.data_keys}
        return tuple((sealable, sealable.standing_among(active)) for sealable in self.sealables)

    def note(self, sealable: Sealable) -> Note:
        """What the engine remembers of a sealable."""
        return self.notes.get(sealable.uid, NO_NOTE)

    def trouble(self, *subjects: str) -> ByokError | None:
        """What keeps a step waiting, if that says something of the world.

        A lost compare-and-swap does not: two writers would each say of the other that it was quicker, and
        each correct what the other says, for as long as they run.
        """
        found = (self.troubles.get(subject) for subject in subjects)
        return next((error for error in found if error is not None and not isinstance(error, Changed)), None)

    def unwritten(self, *subjects: str) -> ByokError | None:
        """What keeps a step waiting whose audit line cannot be written."""
        cause = self.trouble(*subjects)
        return cause if cause is not None and cause.reason is Reason.AUDIT_UNAVAILABLE else None

    def key(self, binding: RootKeyBinding) -> KeyStanding:
        """What is known of a binding's root key."""
        return self.keys.get(binding.metadata.uid, UNCHECKED)

    @property
    def global_key(self) -> KeyStanding:
        """What is known of the global key."""
        return self.keys.get(GLOBAL, UNCHECKED)


@dataclass(frozen=True, slots=True)
class Choice:
    """The root key that should be in force, and why."""

    root_key: str | None
    """A CRN, `GLOBAL`, or None: nothing may be sealed now."""
    binding: RootKeyBinding | None
    reason: Reason
    message: str


def choose(view: View) -> Choice:
    """Which root key should be in force.

    The incumbent, whose root key the Active data key is under, stays until its binding goes: nothing flips
    when creation times change in a restore. Then the oldest usable binding takes over. Protection never
    drops to the global key while a binding exists that is not being deleted.
    """
    active = view.properties.active
    incumbents = [b for b in view.bindings if active is not None and b.root_key == active.root_key]
    staying = sorted((b for b in incumbents if not b.metadata.deleting and b.metadata.ours), key=age)
    if staying:
        return Choice(staying[0].root_key, staying[0], Reason.IN_FORCE, "")

    wanted = sorted((b for b in view.bindings if not b.metadata.deleting), key=age)
    usable = [b for b in wanted if b.metadata.ours and view.key(b).wraps]
    if usable:
        return Choice(usable[0].root_key, usable[0], Reason.IN_FORCE, "")

    held = active.root_key if active else None
    holder = next(iter(sorted(incumbents, key=age)), None)
    if wanted:
        names = ", ".join(b.metadata.name for b in wanted[:3])
        message = f"waiting for the root key of RootKeyBinding {names}; see its conditions"
        return Choice(held, holder, Reason.WAITING_FOR_ROOT_KEY, message)
    if view.instance is not None and view.instance.spec.global_key_policy == "Forbid":
        if holder is not None:
            message = "spec.globalKeyPolicy is Forbid: create another RootKeyBinding, and this one is let go"
            return Choice(held, holder, Reason.IN_FORCE, message)
        message = "spec.globalKeyPolicy is Forbid: create a RootKeyBinding for this instance, or set it to Allow"
        return Choice(None, None, Reason.NO_ROOT_KEY, message)
    return Choice(GLOBAL, None, Reason.IN_FORCE, "")


def age(binding: RootKeyBinding) -> tuple[str, str]:
    """Sorts the oldest first."""
    return binding.metadata.creation_timestamp, binding.metadata.name
