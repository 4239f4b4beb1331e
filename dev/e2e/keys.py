"""What a key's owner does: a root key from the first day (Case 1), another root key, a rotation, none any more."""

from e2e.cluster import apply, claim, kubectl, until
from e2e.pods import DATABASE_HOST, TEAM
from e2e.scene import API_KEY, USER, Scene
from stage import manifests

FIRST_INSTANCE = "8d1f7a34-6c2e-4b90-a5d3-0e9c7b6f2a18"


def case_1(scene: Scene) -> str:
    """A root key is bound before there is anything: the global key never protects what comes."""
    crn = scene.new_root_key()
    apply(
        manifests.instance(TEAM, "first", FIRST_INSTANCE, api_key_secret=API_KEY),
        manifests.binding(TEAM, "first", "first", crn),
    )
    secret = manifests.secret(TEAM, "first", {"password": scene.password}, handover=True)
    apply(secret, manifests.datamart(TEAM, "first", "first", "first", host=DATABASE_HOST, username=USER))
    took = until("it is sealed under the root key", lambda: scene.protected(crn, instance="first", mart="first"))
    keys = scene.instance("first")["status"]["properties"]["dataKeys"]
    claim([key["rootKey"] for key in keys] == [crn], "its only data key was ever under that root key")
    return f"sealed under the root key after {took:.1f} s, never under the global key"


def change(scene: Scene) -> str:
    """A → B: another binding is made, the first deleted. Everything moves, and A is needed no more."""
    former, scene.root_key = scene.root_key, scene.new_root_key()
    before = scene.envelope()
    apply(manifests.binding(TEAM, "key-b", "openscale", scene.root_key))
    until("it waits", lambda: scene.binding("key-b").get("status", {}).get("role") == "Standby")
    kubectl("delete", "--namespace", TEAM, "rootkeybinding", "key-a", "--timeout=60s")
    took = until("everything is under B", lambda: scene.protected(scene.root_key))
    claim(scene.envelope() != before, "the password was sealed anew")
    scene.emulator.disable(former)
    scene.works()
    scene.emulator.enable(former, ignore_timing=True)
    return f"moved {took:.1f} s after A's binding was gone; with A disabled psql still logs in"


def rotate(scene: Scene) -> str:
    """A new version of the root key: the data key is wrapped anew, no secret is touched."""
    before, version = scene.envelope(), scene.emulator.rotate(scene.root_key, ignore_timing=True)

    def rewrapped() -> bool:
        keys = scene.instance()["status"]["properties"]["dataKeys"]
        return all(key.get("rootKeyVersion") == version for key in keys)

    took = until("the data key is under the new version", rewrapped)
    claim(scene.envelope() == before, "the envelope is the same")
    scene.works()
    return f"rewrapped after {took:.1f} s, the envelope is untouched"


def remove(scene: Scene) -> str:
    """No root key any more: everything moves under the global key, the customer's is needed no more. Then A again."""
    kubectl("delete", "--namespace", TEAM, "rootkeybinding", "key-b", "--timeout=60s")
    took = until("everything is under the global key", lambda: scene.protected(""))
    claim(scene.instance()["status"]["protection"] == "Global", "the instance says so")
    scene.emulator.delete(scene.root_key)
    scene.works()
    scene.root_key = scene.new_root_key()
    apply(manifests.binding(TEAM, "key-a", "openscale", scene.root_key))
    until("everything is under a root key again", lambda: scene.protected(scene.root_key))
    return f"under the global key {took:.1f} s after the binding was gone; its root key was deleted, psql still logs in"


STEPS = (case_1, change, rotate, remove)
