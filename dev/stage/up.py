"""`make up`: everything running in the background, and `.dev/env` to use it; `make down` ends it.

One process in the background owns all of it: when it ends, or is killed, everything else goes too.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stage import visitors
from stage.scene import ROOT, Scene, raise_scene

FOLDER = ROOT / ".dev"
START_SECONDS = 1_800.0
"""The first start builds the cluster's binary."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of what runs in the background: how to use it, its logs, its owner."""

    folder: Path

    @property
    def env(self) -> Path:
        """What a shell reads to use it; there once everything is ready."""
        return self.folder / "env"

    @property
    def log(self) -> Path:
        """What the owner says."""
        return self.folder / "up.log"

    @property
    def pid_file(self) -> Path:
        """Names the owner."""
        return self.folder / "up.pid"

    @property
    def ca_file(self) -> Path:
        """The certificates of the gateway's authority."""
        return self.folder / "gateway-ca.crt"

    def owner(self) -> int | None:
        """The process that owns everything, if it runs."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"stage.up" in command and pid != os.getpid() else None


def place(description: str | None) -> tuple[Place, bool]:
    """The place that the command line names, and whether this process is to be its owner."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for logs and env (default .dev)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    return Place(options.folder.resolve()), options.serve


def main() -> int:
    """Start it, unless it runs; wait until it is ready."""
    here, is_owner = place(__doc__)
    if is_owner:
        return serve(here)
    here.folder.mkdir(exist_ok=True)
    if here.owner() is not None:
        print(f"already running; use it with:  . {_shown(here.env)}")
        return 0
    here.env.unlink(missing_ok=True)
    with here.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stage.up", "--serve", "--folder", str(here.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    here.pid_file.write_text(str(process.pid))
    shown, deadline = 0, time.monotonic() + START_SECONDS
    while not here.env.exists():
        text = here.log.read_text(errors="replace")
        print(text[shown:], end="", flush=True)
        shown = len(text)
        if process.poll() is not None or time.monotonic() > deadline:
            print(f"make up failed; see {_shown(here.log)}", file=sys.stderr)
            here.pid_file.unlink(missing_ok=True)
            return 1
        time.sleep(0.2)
    print(f"""ready. In your shell:

  . {_shown(here.env)}
  kubectl get openscale -A

and end it with `make down`. Logs: operator.log and gateway.log in {_shown(here.folder)}""")
    return 0


def serve(here: Place) -> int:
    """Own everything until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def say(text: str) -> None:
        print(text, flush=True)

    with raise_scene(say, folder=here.folder, audited=False) as scene:
        say("starting the gateway")
        with scene.gateway() as gateway:
            here.ca_file.write_text(scene.gateway_authority())
            values = environment(scene) | {"GATEWAY_URL": gateway.url, "GATEWAY_CA": str(here.ca_file)}
            _publish(here, values, scene.cluster.kubectl_path.parent)
            while True:
                signal.pause()


def environment(scene: Scene) -> dict[str, str]:
    """What a person needs to use it, but for the gateway's own address."""
    emulator, database, guests = scene.emulator, scene.postgres, visitors.prepare(scene)
    values = {
        "KUBECONFIG": str(scene.cluster.kubeconfig),
        "IBM_KEY_PROTECT_API_URL": emulator.url,
        "IBM_KEY_PROTECT_API_AUTH_TYPE": "iam",
        "IBM_KEY_PROTECT_API_AUTH_URL": emulator.iam_url,
        "IBM_KEY_PROTECT_API_APIKEY": emulator.api_key,
        "BLUEMIX_INSTANCE": emulator.instance.id,
        "ROOT_KEY_CRN": emulator.create_root_key(name="root-key"),
        "SERVICE_INSTANCE_ID": guests.service_instance_id,
        "OPENSCALE_APIKEY": guests.api_key,
        "DEMO_TOKEN": guests.token,
    }
    if database is not None:
        values |= {
            "PGHOST": database.host,
            "PGPORT": str(database.port),
            "PGUSER": "postgres",
            "PGPASSWORD": database.admin_password,
        }
    return values


def _publish(here: Place, values: Mapping[str, str], programs: Path) -> None:
    """Write what a shell reads, all at once: that it is there says that everything is ready."""
    lines = [f"export {name}='{value}'" for name, value in values.items()]
    lines.append(f"export PATH='{programs}':\"$PATH\"")
    temporary = here.env.with_suffix(".new")
    temporary.touch(0o600)
    temporary.write_text("\n".join(lines) + "\n")
    temporary.rename(here.env)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    sys.exit(main())
