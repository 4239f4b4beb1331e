"""`make up`: everything running in the background, and `.dev/env` to use it; `make down` ends it.

One process in the background owns all of it: when it ends, or is killed, everything else goes too.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stage.scene import ROOT, Scene, raise_scene

FOLDER = ROOT / ".dev"
PID = FOLDER / "up.pid"
ENV = FOLDER / "env"
LOG = FOLDER / "up.log"
START_SECONDS = 1_800.0
"""The first start builds the cluster's binary."""


def main() -> int:
    """Start it, unless it runs; wait until it is ready."""
    if "--serve" in sys.argv:
        return serve()
    FOLDER.mkdir(exist_ok=True)
    if running_pid() is not None:
        print(f"already running; use it with:  . {ENV.relative_to(ROOT)}")
        return 0
    ENV.unlink(missing_ok=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stage.up", "--serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    PID.write_text(str(process.pid))
    shown, deadline = 0, time.monotonic() + START_SECONDS
    while not ENV.exists():
        text = LOG.read_text(errors="replace")
        print(text[shown:], end="", flush=True)
        shown = len(text)
        if process.poll() is not None or time.monotonic() > deadline:
            print(f"make up failed; see {LOG.relative_to(ROOT)}", file=sys.stderr)
            PID.unlink(missing_ok=True)
            return 1
        time.sleep(0.2)
    print(f"""ready. In your shell:

  . {ENV.relative_to(ROOT)}
  kubectl get openscale

and end it with `make down`. The operator's log: {FOLDER.name}/operator.log""")
    return 0


def serve() -> int:
    """Own everything until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with raise_scene(lambda text: print(text, flush=True), folder=FOLDER, audited=False) as scene:
        temporary = ENV.with_suffix(".new")
        temporary.write_text(environment(scene))
        temporary.chmod(0o600)
        temporary.rename(ENV)
        while True:
            signal.pause()


def environment(scene: Scene) -> str:
    """What a person needs to use it, as a shell reads it."""
    emulator, database = scene.emulator, scene.postgres
    values = {
        "KUBECONFIG": str(scene.cluster.kubeconfig),
        "IBM_KEY_PROTECT_API_URL": emulator.url,
        "IBM_KEY_PROTECT_API_AUTH_TYPE": "iam",
        "IBM_KEY_PROTECT_API_AUTH_URL": emulator.iam_url,
        "IBM_KEY_PROTECT_API_APIKEY": emulator.api_key,
        "BLUEMIX_INSTANCE": emulator.instance.id,
        "ROOT_KEY_CRN": emulator.create_root_key(name="root-key"),
    }
    if database is not None:
        values |= {
            "PGHOST": database.host,
            "PGPORT": str(database.port),
            "PGUSER": "postgres",
            "PGPASSWORD": database.admin_password,
        }
    lines = [f"export {name}='{value}'" for name, value in values.items()]
    lines.append(f"export PATH='{scene.cluster.kubectl_path.parent}':\"$PATH\"")
    return "\n".join(lines) + "\n"


def running_pid() -> int | None:
    """The process that owns everything, if it runs."""
    try:
        pid = int(PID.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"stage.up" in command and pid != os.getpid() else None


if __name__ == "__main__":
    sys.exit(main())
