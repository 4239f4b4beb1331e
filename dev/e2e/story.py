"""Tells the story on the cluster that KUBECONFIG names: each step says what was proven in pods; a table at the end."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from e2e import clients, first_day, keys, releases, trouble, upgrade
from e2e.cluster import StoryFailed, kubectl
from e2e.pods import RELEASE
from e2e.scene import Scene
from key_protect_emulator.control import EmulatorError

Step = Callable[[Scene], str]
SMOKE: Sequence[Step] = first_day.STEPS
WHOLE: Sequence[Step] = (
    first_day.surroundings,
    *upgrade.STEPS,  # in the place of install, seal, bind: they are done by 0.1.0
    first_day.read,
    first_day.revoke,
    *keys.STEPS,
    *clients.STEPS,
    *trouble.STEPS,
    *releases.STEPS,
)


def main() -> int:
    """Tell the steps; 1 where one failed."""
    made = argparse.ArgumentParser(prog="python -m e2e.story", description=__doc__)
    made.add_argument("--smoke", action="store_true", help="install, seal, bind, read, revoke: no more")
    made.add_argument("--tidy", action="store_true", help="leave nothing: the cluster is lent")
    options = made.parse_args()
    with ExitStack() as stack:
        scene = Scene(stack)
        if options.tidy:
            stack.callback(_tidy, scene)
        return 0 if _tell(SMOKE if options.smoke else WHOLE, scene) else 1


def _tell(steps: Sequence[Step], scene: Scene) -> bool:
    """Tell them one after the other, and the table at the end; whether all was as promised."""
    began, table = time.monotonic(), []
    for number, step in enumerate(steps, 1):
        since = time.monotonic()
        try:
            said = step(scene)
        except (StoryFailed, EmulatorError, OSError) as error:
            print(f"{number:2}. {step.__name__}: FAILED: {error}", flush=True)
            print(_state(), flush=True)
            return False
        table.append(f"{number:2}. {step.__name__:16} {time.monotonic() - since:6.1f} s  {said}")
        print(table[-1], flush=True)
    print("\n".join(["", *table]))
    print(f"e2e: {len(steps)} steps proven in pods, {time.monotonic() - began:.0f} s", flush=True)
    return True


def _tidy(scene: Scene) -> None:
    if scene.ours:
        releases.tidy()


def _state() -> str:
    """What whoever has to find out wants to see."""
    asks = (
        ("get", "pods", "--all-namespaces", "--output", "wide"),
        ("get", "openscale", "--all-namespaces"),
        ("logs", "--namespace", RELEASE, f"deployment/{RELEASE}", "--tail", "30"),
        ("logs", "--namespace", RELEASE, f"deployment/{RELEASE}-gateway", "--tail", "30"),
        ("get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"),
    )
    found = []
    for ask in asks:
        try:
            found.append(kubectl(*ask)[-4000:])
        except StoryFailed as error:
            found.append(str(error))
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main())
