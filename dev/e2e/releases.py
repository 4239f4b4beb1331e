"""What Helm does to a release: another build and back, uninstalled and installed again; and the end of a namespace."""

import json
import time

from e2e.cluster import claim, get, helm, kubectl, succeeds, until
from e2e.images import NEXT
from e2e.load import reading
from e2e.pods import NAMESPACES, RELEASE, TEAM
from e2e.scene import DEFINITIONS, Scene
from openscale_byok.resources import GROUP

_NAMES = tuple(f"{kind}.{GROUP}" for kind in ("datamarts", "rootkeybindings", "openscaleinstances"))


def another_build(scene: Scene) -> str:
    """Another build of this version comes, and goes by `helm rollback`, while people read: no read fails."""
    with reading() as count:
        scene.helm("upgrade", image={"tag": NEXT})
        claim(_tags() == {NEXT}, "the other build runs")
        helm("rollback", RELEASE, "--namespace", RELEASE, "--wait", "--timeout", "180s")
        claim(NEXT not in _tags(), "the former build runs")
    until("the binding is in force", lambda: scene.protected(scene.root_key))
    return f"there and back during {count.reads} reads, none failed"


def uninstall(scene: Scene) -> str:
    """`helm uninstall` keeps every object, hangs on nothing; installed again, everything opens."""
    before, began = scene.envelope(), time.monotonic()
    helm("uninstall", RELEASE, "--namespace", RELEASE, "--wait", "--timeout", "120s")
    took = time.monotonic() - began
    claim(scene.envelope() == before, "the envelope is kept")
    scene.helm("install")
    scene.give_authority()
    scene.works()
    return f"gone in {took:.1f} s; CRDs, objects and the global key were kept; psql logs in again"


def end_of_namespace(scene: Scene) -> str:
    """The team's namespace is deleted with all that is sealed in it: nothing hangs."""
    del scene
    began = time.monotonic()
    kubectl("delete", "namespace", TEAM, "--timeout=120s")
    return f"gone in {time.monotonic() - began:.1f} s, instances and bindings released"


def leave(scene: Scene) -> str:
    """The release goes, then, by its owner's word, the CustomResourceDefinitions: only the global key is left."""
    del scene
    helm("uninstall", RELEASE, "--namespace", RELEASE, "--wait", "--timeout", "120s")
    kubectl("delete", "customresourcedefinition", *_NAMES, "--timeout=60s")
    helm("uninstall", DEFINITIONS, "--namespace", RELEASE)
    selector = ("--selector", f"app.kubernetes.io/instance={RELEASE}", "--output", "name", "--ignore-not-found")
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    left = kubectl("get", kinds, *selector).split()
    claim(not left, f"nothing is left: {left}")
    claim(bool(get(RELEASE, "secret", "openscale-byok-global-key")), "but the global key, which is its owner's")
    return "nothing is left in the cluster but the global key's Secret"


def tidy() -> None:
    """Take away what a story has left, wherever it ended. Objects first: the operator releases them."""
    kubectl("delete", "namespace", TEAM, "--ignore-not-found", "--timeout=120s")
    if succeeds("get", "namespace", RELEASE):
        helm("uninstall", RELEASE, "--namespace", RELEASE, "--ignore-not-found", "--wait", "--timeout", "120s")
    kubectl("delete", "customresourcedefinition", *_NAMES, "--ignore-not-found", "--timeout=60s")
    kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", "--timeout=120s")


def _tags() -> set[str]:
    pods = json.loads(kubectl("get", "pods", "--namespace", RELEASE, "--output", "json"))["items"]
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {one["image"].rpartition(":")[2] for pod in running for one in pod["spec"]["containers"]}


STEPS = (another_build, uninstall, end_of_namespace, leave)
