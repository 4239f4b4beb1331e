"""What every chapter does: say what happens, count it, wait for it, and prove it."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from stage import manifests
from stage.scene import Scene, Tally

TEAM = "team-a"
LOGINS_AT_ONCE = 4


class ProofFailed(RuntimeError):
    """Something that was promised did not hold."""


class Teller:
    """Tells steps on a scene, one after the other, and remembers every password that was given."""

    def __init__(self, scene: Scene, say: Callable[[str], None]) -> None:
        self.scene = scene
        self.say = say
        self.passwords: dict[str, dict[str, str]] = {}
        """By instance, and by data mart."""
        self._step = 0

    # Proofs -------------------------------------------------------------------------------------------

    def prove(self, name: str, root_keys: set[str], *only: str) -> None:
        """Open every envelope without the operator (or only some data marts'); log in with what was in it."""
        scene = self.scene
        marts = [m for m in scene.list("datamarts", TEAM) if m["spec"]["instanceRef"]["name"] == name]
        marts = [m for m in marts if not only or m["metadata"]["name"] in only]
        users = {m["metadata"]["name"]: m["spec"]["database"]["username"] for m in marts}
        given = {mart: password for mart, password in self.passwords[name].items() if not only or mart in only}
        proof = scene.opener().open_all(scene.get("openscaleinstance", TEAM, name), marts)
        self.claim(
            proof.holds, f"{len(marts)} envelopes open{': ' + '; '.join(proof.failures[:3]) if proof.failures else ''}"
        )
        self.claim(proof.passwords == given, f"{name}: each holds the password that was given")
        self.claim(proof.root_keys == root_keys, f"{name}: all under {short(root_keys)}")
        database = scene.postgres
        if database is None:
            raise ProofFailed("there is no PostgreSQL to log in to")
        with ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
            in_ = list(pool.map(lambda mart: database.lets_in(users[mart], proof.passwords[mart]), proof.passwords))
        self.claim(all(in_), f"all passwords of {name} log in: {in_.count(False)} do not")
        envelopes = "1 envelope" if len(marts) == 1 else f"{len(marts)} envelopes"
        self.say(
            f"  proven: {envelopes} of {name} opened independently under {short(root_keys)}, "
            f"{len(in_)} logged into PostgreSQL"
        )

    def claim(self, true: bool, what: str) -> None:  # noqa: FBT001 -- a claim is true or not
        """Expect that something holds.

        Raises:
            ProofFailed: it does not.
        """
        if not true:
            raise ProofFailed(f"not so: {what}")

    # Waiting ------------------------------------------------------------------------------------------

    def until_protected(self, name: str, crn: str) -> None:
        """Wait until an instance is under one root key (or the global key, where none is named) with all it has."""
        last = -1

        def done() -> bool:
            nonlocal last
            status = self.scene.get("openscaleinstance", TEAM, name).get("status", {})
            found, properties = status.get("secrets", {}), status.get("properties", {})
            current, total = found.get("current", 0), found.get("total", 0)
            keys = properties.get("dataKeys", [])
            moved = properties.get("userRootKeyCRN", "") == crn and len(keys) == 1
            if total > 20 and current != last and properties.get("userRootKeyCRN", "") == crn:
                last = current
                self.say(f"  … {current} of {total} under the active data key")
            return bool(moved and current == total and is_ready(status))

        self.scene.until(done, f"instance {name} is under {crn or 'the global key'}")

    def until_ready(self, name: str, number: int) -> None:
        """Wait until so many data marts of an instance are sealed and Ready."""

        def sealed() -> bool:
            status = self.scene.get("openscaleinstance", TEAM, name).get("status", {})
            return bool(status.get("secrets", {}).get("current", 0) == number)

        def done() -> bool:
            marts = [m for m in self.scene.list("datamarts", TEAM) if m["spec"]["instanceRef"]["name"] == name]
            return len([m for m in marts if is_ready(m.get("status", {}))]) == number

        self.scene.until(sealed, f"{number} data marts of {name} are sealed", 120)
        self.scene.until(done, f"{number} data marts of {name} are ready", 60)

    def until_role(self, binding: str, role: str) -> None:
        """Wait for the role of a binding."""
        self.scene.until(
            lambda: self.scene.get("rootkeybinding", TEAM, binding).get("status", {}).get("role") == role,
            f"binding {binding} is {role}",
        )

    def until_reason(self, kind: str, name: str, reason: str) -> None:
        """Wait for the reason of an object."""
        self.scene.until(
            lambda: ready(self.scene.get(kind, TEAM, name).get("status", {})).get("reason") == reason,
            f"{kind} {name} says {reason}",
        )

    def until_gone(self, *bindings: str) -> None:
        """Wait until bindings are released."""
        self.scene.until(
            lambda: not any(self.scene.get("rootkeybinding", TEAM, name) for name in bindings),
            f"bindings {', '.join(bindings)} are released",
        )

    def versions(self, name: str) -> set[str]:
        """The versions of the root key that an instance's data keys are wrapped by."""
        properties = self.scene.get("openscaleinstance", TEAM, name)["status"]["properties"]
        return {entry["rootKeyVersion"] for entry in properties["dataKeys"]}

    # Telling ------------------------------------------------------------------------------------------

    @contextmanager
    def step(self, title: str, *commands: str) -> Iterator[Tally]:
        """Tell one step: what was done, what it cost, how long it took."""
        self._step += 1
        self.say("")
        self.say(f"{self._step}. {title}")
        for command in commands:
            self.say(f"  $ {command}")
        began = time.monotonic()
        with self.scene.counted() as tally:
            yield tally
        calls = {k: v for k, v in sorted(tally.key_protect.items()) if k in ("wrap", "unwrap", "rewrap")}
        text = ", ".join(f"{count} {call}" for call, count in calls.items()) or "none"
        writes = ", ".join(f"{count} {what}" for what, count in sorted(tally.writes.items())) or "none"
        self.say(f"  {time.monotonic() - began:.1f} s; Key Protect: {text}; API writes: {tally.written} ({writes})")

    def show(self, name: str) -> None:
        """Print an instance as kubectl does."""
        self.say(self.scene.kubectl("get", "openscaleinstance", name, "-n", TEAM, "-o", "wide").rstrip())

    # Objects ------------------------------------------------------------------------------------------

    def new_users(self, instance: str, names: Sequence[str]) -> None:
        """New users of the database, by the names of data marts that are to log in as them."""
        made = {name: secrets.token_urlsafe(18) for name in names}
        self.passwords.setdefault(instance, {}).update(made)
        if self.scene.postgres is not None:
            self.scene.postgres.create_users(made.items())

    def mart(self, instance: str, name: str, source: str, key: str) -> manifests.Object:
        """A data mart that logs in as the user of its own name."""
        at = self.scene.postgres
        host, port = (at.host, at.port) if at is not None else ("127.0.0.1", 5432)
        return manifests.datamart(TEAM, name, instance, source, key=key, host=host, port=port, username=name)


def ready(status: dict[str, Any]) -> dict[str, Any]:
    """The condition Ready of a status."""
    return next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})


def is_ready(status: dict[str, Any]) -> bool:
    """Whether a status says Ready."""
    return bool(ready(status).get("status") == "True")


def short(root_keys: set[str]) -> str:
    """Root keys as the story names them."""
    names = {key if key == "global" else f"root key …{key[-12:]}" for key in root_keys}
    return ", ".join(sorted(names)) or "nothing"
