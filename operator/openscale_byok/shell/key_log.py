"""What becomes of root keys, as lines of the log: the first listener of `ports.observers.KeyObserver`."""

import structlog

from openscale_byok.ports.observers import KeySeen

log = structlog.get_logger("openscale_byok")


class KeyLog:
    """One line for each change, none for a look that found the same again."""

    def key_seen(self, seen: KeySeen) -> None:
        """See `ports.observers.KeyObserver`."""
        if not seen.changed:
            return
        say = log.warning if seen.usable == "False" else log.info
        say(
            "root key",
            namespace=seen.namespace,
            binding=seen.binding,
            root_key=seen.root_key,
            state=seen.state,
            usable=seen.usable,
            reason=seen.reason.value,
            until=seen.until,
            trace=seen.trace,
        )

    def data_keys_dropped(self, holder: str, number: int) -> None:
        """See `ports.observers.KeyObserver`."""
        log.info("data keys dropped", binding_uid=holder, number=number)
