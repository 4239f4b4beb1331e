"""Who claims which service instance id, kept up to date: looked up at each opening, among however many instances."""


class Claims:
    """Instances, as namespace and name, by the id that they claim."""

    def __init__(self) -> None:
        self._of: dict[str, dict[tuple[str, str], None]] = {}

    def of(self, service_instance_id: str) -> list[tuple[str, str]]:
        """Everyone who claims this id, in the order in which they were heard of."""
        return list(self._of.get(service_instance_id, ()))

    def move(self, who: tuple[str, str], before: str, after: str) -> None:
        """An instance claims another id than before; empty: none."""
        if before == after:
            return
        if before:
            claimants = self._of.get(before, {})
            claimants.pop(who, None)
            if not claimants:
                self._of.pop(before, None)
        if after:
            self._of.setdefault(after, {})[who] = None
