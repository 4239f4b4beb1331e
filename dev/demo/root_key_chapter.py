"""The story that the demo tells: Case 1, Case 2, another root key, a rotation; then the root key is disabled, destroyed
and restored; and back to the global key."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from stage import manifests
from stage.scene import Scene, Tally

TEAM = "team-a"
SMALL, LARGE = "prod", "lake"
API_KEY_SECRET = "key-protect"  # the name of a Secret
LOGINS_AT_ONCE = 4
GUIDS = {SMALL: "a7d1b3c2-0f4e-4d5a-9b6c-1e2f3a4b5c6d", LARGE: "b8e2c4d3-1a5f-4e6b-8c7d-2f3a4b5c6d7e"}


class ProofFailed(RuntimeError):
    """Something that was promised did not hold."""


class Story:
    """Tells the story on a scene, step by step, and proves each step."""

    def __init__(self, scene: Scene, say: Callable[[str], None], datamarts: int) -> None:
        self._scene = scene
        self._say = say
        self._number = datamarts
        self._step = 0
        self._passwords: dict[str, dict[str, str]] = {SMALL: {}, LARGE: {}}
        self._began = time.monotonic()

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            ProofFailed: a proof did not hold.
            TimeoutError: a step did not end.
        """
        scene = self._scene
        scene.namespace(TEAM)
        key_a = scene.emulator.create_root_key(name="root-key-a")
        key_b = scene.emulator.create_root_key(name="root-key-b")
        scene.create(manifests.secret(TEAM, API_KEY_SECRET, {"apikey": scene.api_key(key_a, key_b)}))
        self._case_1(key_a)
        self._case_2(key_a)
        self._another_root_key(key_a, key_b)
        self._rotation(key_b)
        self._disabled(key_b)
        self._destroyed(key_b)
        self._restored(key_b)
        self._back_to_the_global_key(key_a, key_b)
        took = time.monotonic() - self._began
        self._say("")
        self._say(f"Every step was proven. {self._number + 4} data marts, {took:.0f} seconds.")

    # Steps --------------------------------------------------------------------------------------------

    def _case_1(self, key_a: str) -> None:
        with self._told(
            "Case 1: the root key is bound before the first data mart exists",
            "kubectl apply -f instance.yaml -f binding.yaml; kubectl apply -f datamarts.yaml",
        ):
            self._scene.apply(manifests.instance(TEAM, SMALL, GUIDS[SMALL], api_key_secret=API_KEY_SECRET))
            self._scene.apply(manifests.binding(TEAM, "prod-key-a", SMALL, key_a))
            self._until_protected(SMALL, key_a)
            names = [f"mart-{number}" for number in (1, 2, 3)]
            self._new_users(SMALL, names)
            sources = [
                manifests.secret(TEAM, f"{name}-password", {"password": self._passwords[SMALL][name]}, handover=True)
                for name in names
            ]
            self._scene.create(*sources)
            self._scene.apply(*[self._mart(SMALL, name, f"{name}-password", "password") for name in names])
            self._until_ready(SMALL, len(names))
        gone = [s["metadata"]["name"] for s in self._scene.list("secret", TEAM)]
        self._claim(not any(name.startswith("mart-") for name in gone), "the hand-over Secrets were consumed")
        self._show(SMALL)
        self._prove(SMALL, {key_a})

    def _case_2(self, key_a: str) -> None:
        with self._told(
            f"{self._number} data marts without a binding: sealed under the global key",
            "kubectl apply -f instance.yaml; kubectl create -f datamarts.yaml",
        ):
            self._scene.apply(manifests.instance(TEAM, LARGE, GUIDS[LARGE], api_key_secret=API_KEY_SECRET))
            names = [f"lake-{number:04}" for number in range(self._number)]
            self._new_users(LARGE, names)
            # One Secret with a key for each: kept, as it holds more than one password.
            self._scene.create(manifests.secret(TEAM, "lake-passwords", self._passwords[LARGE]))
            self._scene.create(*[self._mart(LARGE, name, "lake-passwords", name) for name in names])
            self._until_ready(LARGE, self._number)
        self._prove(LARGE, {"global"})

        with self._told(
            "Case 2: a root key is bound later; everything is re-encrypted by itself",
            "kubectl apply -f binding.yaml",
        ):
            self._scene.apply(manifests.binding(TEAM, "lake-key-a", LARGE, key_a))
            self._until_protected(LARGE, key_a)
        self._show(LARGE)
        self._prove(LARGE, {key_a})

    def _another_root_key(self, key_a: str, key_b: str) -> None:
        with self._told(
            "Another root key: the second binding waits as Standby, the first is deleted",
            "kubectl apply -f binding-b.yaml; kubectl delete rootkeybinding lake-key-a",
        ):
            for name in (SMALL, LARGE):
                self._scene.apply(manifests.binding(TEAM, f"{name}-key-b", name, key_b))
            for name in (SMALL, LARGE):
                self._until_role(f"{name}-key-b", "Standby")
            self._say(self._scene.kubectl("get", "rootkeybindings", "-n", TEAM).rstrip())
            for name in (SMALL, LARGE):
                self._scene.kubectl("delete", "rootkeybinding", f"{name}-key-a", "-n", TEAM, "--wait=false")
            for name in (SMALL, LARGE):
                self._until_protected(name, key_b)
            self._until_gone("lake-key-a", "prod-key-a")
        self._scene.emulator.delete(key_a)
        self._say("  root key A is destroyed now: nothing needs it")
        self._prove(SMALL, {key_b})
        self._prove(LARGE, {key_b})

    def _rotation(self, key_b: str) -> None:
        with self._told(
            "The root key is rotated in Key Protect: the data keys are rewrapped, no secret is touched",
            "ibmcloud kp key rotate $ROOT_KEY_B",
        ) as tally:
            version = self._scene.emulator.rotate(key_b, ignore_timing=True)
            for name in (SMALL, LARGE):
                self._scene.until(lambda name=name: self._versions(name) == {version}, f"{name} is rewrapped")  # type: ignore[misc] # mypy cannot infer a lambda with a default
        self._claim(tally.writes["datamarts/status"] == 0, "no data mart was written")
        self._prove(SMALL, {key_b})
        self._prove(LARGE, {key_b})

    def _disabled(self, key_b: str) -> None:
        scene = self._scene
        with self._told(
            "The root key is disabled: nothing opens, nothing new is sealed; enabled: everything is back",
            "ibmcloud kp key disable $ROOT_KEY_B; kubectl create -f mart-4.yaml",
        ):
            scene.emulator.disable(key_b)
            for name in (SMALL, LARGE):
                self._until_reason("rootkeybinding", f"{name}-key-b", "KeyDisabled")
            self._new_users(SMALL, ["mart-4"])
            # Of an ordinary type: this one is kept, which the next step needs.
            scene.create(manifests.secret(TEAM, "mart-4-password", {"password": self._passwords[SMALL]["mart-4"]}))
            scene.apply(self._mart(SMALL, "mart-4", "mart-4-password", "password"))
            self._until_reason("datamart", "mart-4", "KeyDisabled")
            self._claim("sealedPassword" not in scene.get("datamart", TEAM, "mart-4")["status"], "mart-4 is not sealed")
            self._say(scene.kubectl("get", "rootkeybindings", "-n", TEAM).rstrip())
            self._say(scene.kubectl("get", "datamart", "mart-4", "-n", TEAM).rstrip())
            self._say("  $ ibmcloud kp key enable $ROOT_KEY_B")
            scene.emulator.enable(key_b, ignore_timing=True)
            for name, number in ((SMALL, 4), (LARGE, self._number)):
                self._until_ready(name, number)
                self._until_reason("openscaleinstance", name, "Current")
        self._prove(SMALL, {key_b})

    def _destroyed(self, key_b: str) -> None:
        scene = self._scene
        with self._told(
            "The root key is destroyed while its binding goes: what has a source moves, the rest is stuck and named",
            "ibmcloud kp key delete $ROOT_KEY_B; kubectl delete rootkeybinding prod-key-b",
        ):
            scene.emulator.delete(key_b)
            self._until_reason("rootkeybinding", f"{SMALL}-key-b", "KeyDestroyed")
            scene.kubectl("delete", "rootkeybinding", f"{SMALL}-key-b", "-n", TEAM, "--wait=false")
            self._until_reason("rootkeybinding", f"{SMALL}-key-b", "Stuck")
            self._until_reason("openscaleinstance", SMALL, "Stuck")
        found = scene.get("openscaleinstance", TEAM, SMALL)["status"]
        self._claim(found["secrets"] == {"total": 4, "current": 1, "stale": 0, "stuck": 3}, "one moved, three stuck")
        message = _ready(found)["message"]
        self._claim(all(f"mart-{number}" in message for number in (1, 2, 3)), "they are named")
        self._show(SMALL)
        self._prove(SMALL, {"global"}, "mart-4")

    def _restored(self, key_b: str) -> None:
        with self._told(
            "The root key is restored: what was stuck moves too, and the binding is let go",
            "ibmcloud kp key restore $ROOT_KEY_B",
        ):
            self._scene.emulator.restore(key_b, ignore_timing=True)
            self._until_protected(SMALL, "")
            self._until_gone(f"{SMALL}-key-b")
            self._until_reason("openscaleinstance", LARGE, "Current")
        self._prove(SMALL, {"global"})
        self._prove(LARGE, {key_b})

    def _back_to_the_global_key(self, key_a: str, key_b: str) -> None:
        with self._told(
            "The last binding goes: everything moves to the global key",
            "kubectl delete rootkeybinding lake-key-b",
        ):
            self._scene.kubectl("delete", "rootkeybinding", f"{LARGE}-key-b", "-n", TEAM, "--wait=false")
            self._until_protected(LARGE, "")
            self._until_gone(f"{LARGE}-key-b")
        self._scene.emulator.delete(key_b)
        self._say("  root key B is destroyed too")
        states = {self._scene.emulator.key(crn)["state"] for crn in (key_a, key_b)}
        self._claim(states == {5}, "both root keys are destroyed in Key Protect")
        self._show(LARGE)
        self._prove(SMALL, {"global"})
        self._prove(LARGE, {"global"})

    # Proofs -------------------------------------------------------------------------------------------

    def _prove(self, name: str, root_keys: set[str], *only: str) -> None:
        """Open every envelope without the operator (or only some data marts'); log in with what was in it."""
        scene = self._scene
        marts = [m for m in scene.list("datamarts", TEAM) if m["spec"]["instanceRef"]["name"] == name]
        marts = [m for m in marts if not only or m["metadata"]["name"] in only]
        given = {mart: password for mart, password in self._passwords[name].items() if not only or mart in only}
        proof = scene.opener().open_all(scene.get("openscaleinstance", TEAM, name), marts)
        self._claim(
            proof.holds, f"{len(marts)} envelopes open{': ' + '; '.join(proof.failures[:3]) if proof.failures else ''}"
        )
        self._claim(proof.passwords == given, f"{name}: each holds the password that was given")
        self._claim(proof.root_keys == root_keys, f"{name}: all under {_short(root_keys)}")
        database = scene.postgres
        if database is None:
            raise ProofFailed("there is no PostgreSQL to log in to")
        with ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
            in_ = list(pool.map(lambda found: database.lets_in(*found), proof.passwords.items()))
        self._claim(all(in_), f"all passwords of {name} log in: {in_.count(False)} do not")
        envelopes = "1 envelope" if len(marts) == 1 else f"{len(marts)} envelopes"
        self._say(
            f"  proven: {envelopes} of {name} opened independently under {_short(root_keys)}, "
            f"{len(in_)} logged into PostgreSQL"
        )

    def _claim(self, true: bool, what: str) -> None:  # noqa: FBT001 -- a claim is true or not
        if not true:
            raise ProofFailed(f"not so: {what}")

    # Waiting ------------------------------------------------------------------------------------------

    def _until_protected(self, name: str, crn: str) -> None:
        last = -1

        def done() -> bool:
            nonlocal last
            status = self._scene.get("openscaleinstance", TEAM, name).get("status", {})
            found, properties = status.get("secrets", {}), status.get("properties", {})
            current, total = found.get("current", 0), found.get("total", 0)
            keys = properties.get("dataKeys", [])
            moved = properties.get("userRootKeyCRN", "") == crn and len(keys) == 1
            if total > 20 and current != last and properties.get("userRootKeyCRN", "") == crn:
                last = current
                self._say(f"  … {current} of {total} under the active data key")
            return bool(moved and current == total and _is_ready(status))

        self._scene.until(done, f"instance {name} is under {crn or 'the global key'}")

    def _until_ready(self, name: str, number: int) -> None:
        def sealed() -> bool:
            status = self._scene.get("openscaleinstance", TEAM, name).get("status", {})
            return bool(status.get("secrets", {}).get("current", 0) == number)

        def done() -> bool:
            marts = [m for m in self._scene.list("datamarts", TEAM) if m["spec"]["instanceRef"]["name"] == name]
            return len([m for m in marts if _is_ready(m.get("status", {}))]) == number

        self._scene.until(sealed, f"{number} data marts of {name} are sealed", 120)
        self._scene.until(done, f"{number} data marts of {name} are ready", 60)

    def _until_role(self, binding: str, role: str) -> None:
        self._scene.until(
            lambda: self._scene.get("rootkeybinding", TEAM, binding).get("status", {}).get("role") == role,
            f"binding {binding} is {role}",
        )

    def _until_reason(self, kind: str, name: str, reason: str) -> None:
        self._scene.until(
            lambda: _ready(self._scene.get(kind, TEAM, name).get("status", {})).get("reason") == reason,
            f"{kind} {name} says {reason}",
        )

    def _until_gone(self, *bindings: str) -> None:
        self._scene.until(
            lambda: not any(self._scene.get("rootkeybinding", TEAM, name) for name in bindings),
            f"bindings {', '.join(bindings)} are released",
        )

    def _versions(self, name: str) -> set[str]:
        properties = self._scene.get("openscaleinstance", TEAM, name)["status"]["properties"]
        return {entry["rootKeyVersion"] for entry in properties["dataKeys"]}

    # Telling ------------------------------------------------------------------------------------------

    @contextmanager
    def _told(self, title: str, command: str) -> Iterator[Tally]:
        self._step += 1
        self._say("")
        self._say(f"{self._step}. {title}")
        self._say(f"  $ {command}")
        began = time.monotonic()
        with self._scene.counted() as tally:
            yield tally
        calls = {k: v for k, v in sorted(tally.key_protect.items()) if k in ("wrap", "unwrap", "rewrap")}
        text = ", ".join(f"{count} {call}" for call, count in calls.items()) or "none"
        writes = ", ".join(f"{count} {what}" for what, count in sorted(tally.writes.items())) or "none"
        self._say(f"  {time.monotonic() - began:.1f} s; Key Protect: {text}; API writes: {tally.written} ({writes})")

    def _show(self, name: str) -> None:
        self._say(self._scene.kubectl("get", "openscaleinstance", name, "-n", TEAM, "-o", "wide").rstrip())

    # Objects ------------------------------------------------------------------------------------------

    def _new_users(self, instance: str, names: Sequence[str]) -> None:
        made = {name: secrets.token_urlsafe(18) for name in names}
        self._passwords[instance] |= made
        if self._scene.postgres is not None:
            self._scene.postgres.create_users(made.items())

    def _mart(self, instance: str, name: str, source: str, key: str) -> manifests.Object:
        at = self._scene.postgres
        host, port = (at.host, at.port) if at is not None else ("127.0.0.1", 5432)
        return manifests.datamart(TEAM, name, instance, source, key=key, host=host, port=port, username=name)


def _ready(status: dict[str, Any]) -> dict[str, Any]:
    return next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})


def _is_ready(status: dict[str, Any]) -> bool:
    return bool(_ready(status).get("status") == "True")


def _short(root_keys: set[str]) -> str:
    names = {key if key == "global" else f"root key …{key[-12:]}" for key in root_keys}
    return ", ".join(sorted(names)) or "nothing"
