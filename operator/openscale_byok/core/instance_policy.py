"""What the operator's owner rules about instances, whoever makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ANY = "*"


@dataclass(frozen=True, slots=True)
class InstancePolicy:
    """Settings of the operator's owner; no object of a team changes them."""

    namespaces: Mapping[str, str] = field(default_factory=dict)
    """The namespace that each service instance id belongs to. `*` for an id: every other one; for a namespace: any.
    Empty: an id belongs to whoever claims it first."""

    minimum_retention_days: int = 0
    """How long `Shred` waits at least, whatever an instance asks for."""

    def admits(self, service_instance_id: str, namespace: str) -> bool:
        """Whether an instance of this namespace may have this id. One that is not named is nobody's."""
        if not self.namespaces:
            return True
        given = self.namespaces.get(service_instance_id, self.namespaces.get(ANY, ""))
        return given in (ANY, namespace)
