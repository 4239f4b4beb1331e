"""The Secret of the global key as the commands see it: one read, one compare-and-swap at a time."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from openscale_byok.adapters.global_key import SecretStore
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance
from openscale_byok.shell.cli.audited_command import CommandAudit

Read = tuple[str, Mapping[str, bytes]]
"""A Secret as it was read: its resourceVersion and its values."""


class Store(SecretStore, Protocol):
    """What the commands need of the cluster."""

    async def write_secret(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, bytes | None]
    ) -> None:
        """Merge values into the Secret if it is still as it was read; `Changed` where it is not."""
        ...

    async def whoami(self) -> str:
        """The user name that the API server knows us by."""
        ...

    async def instances(self) -> Listing[OpenScaleInstance]:
        """Every instance of the cluster."""
        ...

    async def every_datamart(self) -> Listing[DataMart]:
        """Every data mart of the cluster."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Store]]


@dataclass(frozen=True, slots=True)
class Place:
    """The Secret, and the way to it."""

    connect: Connect
    namespace: str
    name: str
    audit: CommandAudit

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    async def read(self, store: Store) -> Read:
        """Read the Secret.

        Raises:
            Refused: it is not there.
        """
        try:
            source = await store.read(self.namespace, self.name)
        except Missing:
            text = f"{self} does not exist; bring it back with: openscale-byok global-key import FILE"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text) from None
        return source.resource_version, source.values

    async def write(self, store: Store, read: Read, values: Mapping[str, bytes | None]) -> None:
        """Change the Secret that was read.

        Raises:
            Refused: it changed meanwhile.
        """
        try:
            await store.write_secret(self.namespace, self.name, read[0], values)
        except Changed:
            raise Refused(Reason.CHANGED_MEANWHILE, f"{self} changed meanwhile; nothing was done: try again") from None
