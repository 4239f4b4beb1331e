"""The steps that a plan can name. Each is small enough to crash in the middle of.

A step's *subject* names what it is about: trouble with one subject keeps only that subject waiting.
"""

from dataclasses import dataclass

from openscale_byok.core.sealable import Sealable
from openscale_byok.resources import Meta, OpenScaleInstance, RootKeyBinding


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next."""

    @property
    def subject(self) -> str:
        """What it is about."""
        return type(self).__name__.lower()


@dataclass(frozen=True, slots=True)
class Hold(Step):
    """Put our finalizer on an object: from now on it does not vanish without us."""

    kind: str
    meta: Meta

    @property
    def subject(self) -> str:
        return f"hold:{self.meta.uid}"


@dataclass(frozen=True, slots=True)
class LetGo(Step):
    """Take our finalizer off an instance that is being deleted and that nothing keeps."""

    instance: OpenScaleInstance


@dataclass(frozen=True, slots=True)
class Release(Step):
    """Let a binding go: write the instance first (where there is one), then take the finalizer off."""

    binding: RootKeyBinding
    instance: OpenScaleInstance | None

    @property
    def subject(self) -> str:
        return f"release:{self.binding.metadata.uid}"


@dataclass(frozen=True, slots=True)
class Rebuild(Step):
    """Restore lost properties from the envelopes' own wrapped keys."""


@dataclass(frozen=True, slots=True)
class Mint(Step):
    """A new data key under this root key becomes Active; the former one turns Retiring."""

    root_key: str


@dataclass(frozen=True, slots=True)
class Rewrap(Step):
    """Wrap a recorded data key by its root key's newest version."""

    data_key: str

    @property
    def subject(self) -> str:
        return f"rewrap:{self.data_key}"


@dataclass(frozen=True, slots=True)
class Batch(Step):
    """A step over a slice of sealables."""

    sealables: tuple[Sealable, ...]


@dataclass(frozen=True, slots=True)
class Verify(Batch):
    """Open each envelope that this process has not seen open yet."""


@dataclass(frozen=True, slots=True)
class Seal(Batch):
    """Look at each source, and seal what it holds where that is called for."""


@dataclass(frozen=True, slots=True)
class Confirm(Batch):
    """Check that the data key is still Active, consume hand-over sources, and say Ready."""


@dataclass(frozen=True, slots=True)
class Unhold(Batch):
    """Take our finalizer off these, as soon as no delete of their sources can be on its way."""


@dataclass(frozen=True, slots=True)
class ReEncrypt(Batch):
    """Open with the data key that the envelope names, seal with the Active one."""


@dataclass(frozen=True, slots=True)
class Recover(Batch):
    """Envelopes whose data key is not recorded: look again, then open each by its own wrapped key."""


@dataclass(frozen=True, slots=True)
class MarkStuck(Batch):
    """Write down that these could not be opened while the present Active key was Active."""


@dataclass(frozen=True, slots=True)
class Shred(Batch):
    """Destroy these sealed passwords: their instance was deleted with `Shred`, and the retention is over."""


@dataclass(frozen=True, slots=True)
class ShredKeys(Step):
    """Destroy the instance's wrapped data keys, once a fresh list shows no envelope any more."""


@dataclass(frozen=True, slots=True)
class Retire(Step):
    """Remove the Retiring data keys that a fresh list shows to be named by nothing."""


@dataclass(frozen=True, slots=True)
class Report(Step):
    """Write the statuses that differ from what is found."""
