"""The world in one file: every change is on the disk before its answer leaves.

The file is replaced as a whole (write, fsync, rename, fsync of the folder), so that a kill at any moment
leaves the old one or the new one. It holds key material and API keys: mode 0600.
"""

import json
import os
from pathlib import Path

from key_protect_emulator.codec import decode, encode
from key_protect_emulator.world import World

FORMAT = 1


class StateFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> World | None:
        """The stored world, or None if there is none yet."""
        try:
            raw = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise ValueError(f"{self.path.name} has format {found!r}; this version reads {FORMAT}")
        return decode(World, raw)

    def save(self, world: World) -> None:
        text = json.dumps(encode(world), separators=(",", ":")).encode()
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
