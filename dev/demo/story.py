"""The story that the demo tells, chapter by chapter."""

import time
from collections.abc import Callable

from demo.gateway_chapter import GatewayChapter
from demo.root_key_chapter import RootKeyChapter
from demo.telling import TEAM, Teller
from stage.scene import Scene


class Story:
    """Tells the story on a scene, step by step, and proves each step."""

    def __init__(self, scene: Scene, say: Callable[[str], None], datamarts: int) -> None:
        self._teller = Teller(scene, say)
        self._chapters = (RootKeyChapter(self._teller, datamarts), GatewayChapter(self._teller))

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            ProofFailed: a proof did not hold.
            TimeoutError: a step did not end.
        """
        began = time.monotonic()
        self._teller.scene.namespace(TEAM)
        for chapter in self._chapters:
            chapter.tell()
        number, took = sum(len(given) for given in self._teller.passwords.values()), time.monotonic() - began
        self._teller.say("")
        self._teller.say(f"Every step was proven. {number} data marts, {took:.0f} seconds.")
