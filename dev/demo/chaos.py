"""Kills the operator again and again while a story is told, to show that it does not matter."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stage.scene import Scene


@contextmanager
def chaos(scene: Scene, seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Kill -9 the operator about every so many seconds, and start it again at once; never if zero."""
    if not seconds:
        yield
        return
    done, kills = threading.Event(), 0

    def serve() -> None:
        nonlocal kills
        while not done.wait(seconds * random.uniform(0.2, 1.8)):  # noqa: S311 -- when, not what
            scene.operator.restart()
            kills += 1

    thread = threading.Thread(target=serve, name="chaos")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        say(f"the operator was killed {kills} times meanwhile")
