"""The first chapter: Case 1, Case 2, another root key, a rotation; then the root key is disabled, destroyed
and restored; and back to the global key."""

from demo.telling import TEAM, Teller, ready
from stage import manifests

SMALL, LARGE = "prod", "lake"
API_KEY_SECRET = "key-protect"  # the name of a Secret
GUIDS = {SMALL: "a7d1b3c2-0f4e-4d5a-9b6c-1e2f3a4b5c6d", LARGE: "b8e2c4d3-1a5f-4e6b-8c7d-2f3a4b5c6d7e"}


class RootKeyChapter:
    """Whose key the passwords are under, and how that changes."""

    def __init__(self, teller: Teller, datamarts: int) -> None:
        self._teller = teller
        self._scene = teller.scene
        self._number = datamarts

    def tell(self) -> None:
        """Tell all of it. Raises what a `Story` does."""
        scene = self._scene
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

    # Steps --------------------------------------------------------------------------------------------

    def _case_1(self, key_a: str) -> None:
        with self._teller.step(
            "Case 1: the root key is bound before the first data mart exists",
            "kubectl apply -f instance.yaml -f binding.yaml; kubectl apply -f datamarts.yaml",
        ):
            self._scene.apply(manifests.instance(TEAM, SMALL, GUIDS[SMALL], api_key_secret=API_KEY_SECRET))
            self._scene.apply(manifests.binding(TEAM, "prod-key-a", SMALL, key_a))
            self._teller.until_protected(SMALL, key_a)
            names = [f"mart-{number}" for number in (1, 2, 3)]
            self._teller.new_users(SMALL, names)
            sources = [
                manifests.secret(
                    TEAM, f"{name}-password", {"password": self._teller.passwords[SMALL][name]}, handover=True
                )
                for name in names
            ]
            self._scene.create(*sources)
            self._scene.apply(*[self._teller.mart(SMALL, name, f"{name}-password", "password") for name in names])
            self._teller.until_ready(SMALL, len(names))
        gone = [s["metadata"]["name"] for s in self._scene.list("secret", TEAM)]
        self._teller.claim(not any(name.startswith("mart-") for name in gone), "the hand-over Secrets were consumed")
        self._teller.show(SMALL)
        self._teller.prove(SMALL, {key_a})

    def _case_2(self, key_a: str) -> None:
        with self._teller.step(
            f"{self._number} data marts without a binding: sealed under the global key",
            "kubectl apply -f instance.yaml; kubectl create -f datamarts.yaml",
        ):
            self._scene.apply(manifests.instance(TEAM, LARGE, GUIDS[LARGE], api_key_secret=API_KEY_SECRET))
            names = [f"lake-{number:04}" for number in range(self._number)]
            self._teller.new_users(LARGE, names)
            # One Secret with a key for each: kept, as it holds more than one password.
            self._scene.create(manifests.secret(TEAM, "lake-passwords", self._teller.passwords[LARGE]))
            self._scene.create(*[self._teller.mart(LARGE, name, "lake-passwords", name) for name in names])
            self._teller.until_ready(LARGE, self._number)
        self._teller.prove(LARGE, {"global"})

        with self._teller.step(
            "Case 2: a root key is bound later; everything is re-encrypted by itself",
            "kubectl apply -f binding.yaml",
        ):
            self._scene.apply(manifests.binding(TEAM, "lake-key-a", LARGE, key_a))
            self._teller.until_protected(LARGE, key_a)
        self._teller.show(LARGE)
        self._teller.prove(LARGE, {key_a})

    def _another_root_key(self, key_a: str, key_b: str) -> None:
        with self._teller.step(
            "Another root key: the second binding waits as Standby, the first is deleted",
            "kubectl apply -f binding-b.yaml; kubectl delete rootkeybinding lake-key-a",
        ):
            for name in (SMALL, LARGE):
                self._scene.apply(manifests.binding(TEAM, f"{name}-key-b", name, key_b))
            for name in (SMALL, LARGE):
                self._teller.until_role(f"{name}-key-b", "Standby")
            self._teller.say(self._scene.kubectl("get", "rootkeybindings", "-n", TEAM).rstrip())
            for name in (SMALL, LARGE):
                self._scene.kubectl("delete", "rootkeybinding", f"{name}-key-a", "-n", TEAM, "--wait=false")
            for name in (SMALL, LARGE):
                self._teller.until_protected(name, key_b)
            self._teller.until_gone("lake-key-a", "prod-key-a")
        self._scene.emulator.delete(key_a)
        self._teller.say("  root key A is destroyed now: nothing needs it")
        self._teller.prove(SMALL, {key_b})
        self._teller.prove(LARGE, {key_b})

    def _rotation(self, key_b: str) -> None:
        with self._teller.step(
            "The root key is rotated in Key Protect: the data keys are rewrapped, no secret is touched",
            "ibmcloud kp key rotate $ROOT_KEY_B",
        ) as tally:
            version = self._scene.emulator.rotate(key_b, ignore_timing=True)
            for name in (SMALL, LARGE):
                self._scene.until(lambda name=name: self._teller.versions(name) == {version}, f"{name} is rewrapped")  # type: ignore[misc] # mypy cannot infer a lambda with a default
        self._teller.claim(tally.writes["datamarts/status"] == 0, "no data mart was written")
        self._teller.prove(SMALL, {key_b})
        self._teller.prove(LARGE, {key_b})

    def _disabled(self, key_b: str) -> None:
        scene = self._scene
        with self._teller.step(
            "The root key is disabled: nothing opens, nothing new is sealed; enabled: everything is back",
            "ibmcloud kp key disable $ROOT_KEY_B; kubectl create -f mart-4.yaml",
        ):
            scene.emulator.disable(key_b)
            for name in (SMALL, LARGE):
                self._teller.until_reason("rootkeybinding", f"{name}-key-b", "KeyDisabled")
            self._teller.new_users(SMALL, ["mart-4"])
            # Of an ordinary type: this one is kept, which the next step needs.
            scene.create(
                manifests.secret(TEAM, "mart-4-password", {"password": self._teller.passwords[SMALL]["mart-4"]})
            )
            scene.apply(self._teller.mart(SMALL, "mart-4", "mart-4-password", "password"))
            self._teller.until_reason("datamart", "mart-4", "KeyDisabled")
            self._teller.claim(
                "sealedPassword" not in scene.get("datamart", TEAM, "mart-4")["status"], "mart-4 is not sealed"
            )
            self._teller.say(scene.kubectl("get", "rootkeybindings", "-n", TEAM).rstrip())
            self._teller.say(scene.kubectl("get", "datamart", "mart-4", "-n", TEAM).rstrip())
            self._teller.say("  $ ibmcloud kp key enable $ROOT_KEY_B")
            scene.emulator.enable(key_b, ignore_timing=True)
            for name, number in ((SMALL, 4), (LARGE, self._number)):
                self._teller.until_ready(name, number)
                self._teller.until_reason("openscaleinstance", name, "Current")
        self._teller.prove(SMALL, {key_b})

    def _destroyed(self, key_b: str) -> None:
        scene = self._scene
        with self._teller.step(
            "The root key is destroyed while its binding goes: what has a source moves, the rest is stuck and named",
            "ibmcloud kp key delete $ROOT_KEY_B; kubectl delete rootkeybinding prod-key-b",
        ):
            scene.emulator.delete(key_b)
            self._teller.until_reason("rootkeybinding", f"{SMALL}-key-b", "KeyDestroyed")
            scene.kubectl("delete", "rootkeybinding", f"{SMALL}-key-b", "-n", TEAM, "--wait=false")
            self._teller.until_reason("rootkeybinding", f"{SMALL}-key-b", "Stuck")
            self._teller.until_reason("openscaleinstance", SMALL, "Stuck")
        found = scene.get("openscaleinstance", TEAM, SMALL)["status"]
        self._teller.claim(
            found["secrets"] == {"total": 4, "current": 1, "stale": 0, "stuck": 3}, "one moved, three stuck"
        )
        message = ready(found)["message"]
        self._teller.claim(all(f"mart-{number}" in message for number in (1, 2, 3)), "they are named")
        self._teller.show(SMALL)
        self._teller.prove(SMALL, {"global"}, "mart-4")

    def _restored(self, key_b: str) -> None:
        with self._teller.step(
            "The root key is restored: what was stuck moves too, and the binding is let go",
            "ibmcloud kp key restore $ROOT_KEY_B",
        ):
            self._scene.emulator.restore(key_b, ignore_timing=True)
            self._teller.until_protected(SMALL, "")
            self._teller.until_gone(f"{SMALL}-key-b")
            self._teller.until_reason("openscaleinstance", LARGE, "Current")
        self._teller.prove(SMALL, {"global"})
        self._teller.prove(LARGE, {key_b})

    def _back_to_the_global_key(self, key_a: str, key_b: str) -> None:
        with self._teller.step(
            "The last binding goes: everything moves to the global key",
            "kubectl delete rootkeybinding lake-key-b",
        ):
            self._scene.kubectl("delete", "rootkeybinding", f"{LARGE}-key-b", "-n", TEAM, "--wait=false")
            self._teller.until_protected(LARGE, "")
            self._teller.until_gone(f"{LARGE}-key-b")
        self._scene.emulator.delete(key_b)
        self._teller.say("  root key B is destroyed too")
        states = {self._scene.emulator.key(crn)["state"] for crn in (key_a, key_b)}
        self._teller.claim(states == {5}, "both root keys are destroyed in Key Protect")
        self._teller.show(LARGE)
        self._teller.prove(SMALL, {"global"})
        self._teller.prove(LARGE, {"global"})
