"""The local cluster from the shell: up, down, status, build, kubectl."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from local_cluster import boot, go_build, lifeline
from local_cluster.cluster import Cluster, tell
from local_cluster.errors import ClusterError

LOOK_SECONDS = 1.0


def parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    root = argparse.ArgumentParser(prog="python -m local_cluster", description=__doc__)
    verbs = root.add_subparsers(dest="verb", required=True)

    up = verbs.add_parser("up", help="start a cluster in a folder of its own")
    up.add_argument("--dir", type=Path, required=True, help="a new or empty folder; removed at the end")
    up.add_argument("--detach", action="store_true", help="return when it is ready; `down` ends it")
    up.add_argument("--audit", action="store_true", help="log every request to DIR/audit.log")
    up.add_argument("--unsafe-no-fsync", action="store_true", help="faster; not for what you want to keep")

    down = verbs.add_parser("down", help="end a cluster and remove its folder")
    down.add_argument("--dir", type=Path, required=True)

    status = verbs.add_parser("status", help="say which clusters run")
    status.add_argument("--dir", type=Path, help="only the one in this folder; exit 1 when it does not run")

    verbs.add_parser("build", help="build the binary now, if it is not cached yet")

    kubectl = verbs.add_parser("kubectl", help="run the kubectl that is in the binary: kubectl -- get pods")
    kubectl.add_argument("--dir", type=Path, help="the cluster's folder; else KUBECONFIG decides")
    kubectl.add_argument("args", nargs="*")
    return root


def up(options: argparse.Namespace) -> int:
    """Start a cluster; in the foreground, until Ctrl-C or until a process of it dies."""
    cluster = Cluster.start(
        options.dir, fsync=not options.unsafe_no_fsync, audit=options.audit, detached=options.detach
    )
    tell(f"cluster: ready at {cluster.url}")
    print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
    if options.detach:
        return 0
    # Waited for, not handled: a handler that sets what its own thread waits for may find that locked, for ever.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    tell("cluster: Ctrl-C ends it")
    with cluster:
        while signal.sigtimedwait(ends, LOOK_SECONDS) is None:
            if (death := cluster.death) is not None:
                raise ClusterError(str(death))
    return 0


def down(options: argparse.Namespace) -> int:
    """End a cluster; one that is not there is not an error."""
    if not lifeline.is_ours(options.dir):
        tell(f"cluster: there is none in {options.dir}")
    elif lifeline.is_alive(options.dir):
        Cluster.attach(options.dir).stop()
    else:
        lifeline.sweep(iter([options.dir]))
    return 0


def status(options: argparse.Namespace) -> int:
    """Say which clusters run."""
    temporary = sorted(Path(tempfile.gettempdir()).glob(f"{boot.PREFIX}*"))
    alive = False
    for folder in [options.dir] if options.dir else filter(lifeline.is_ours, temporary):
        cluster = Cluster.attach(folder)
        alive = cluster.is_alive
        why = f": {cluster.death}" if cluster.death else ""
        print(f"{folder}  {cluster.url}  {'running' if alive else f'dead{why}'}  {cluster.origin}")
    return 0 if alive or not options.dir else 1


def build(_: argparse.Namespace) -> int:
    """Build the binary, if it is not cached yet, and print where it is."""
    print(go_build.Build.of(os.environ).ensure(say=tell))
    return 0


def kubectl(options: argparse.Namespace) -> int:
    """Become kubectl."""
    if options.dir:
        argv = list(Cluster.attach(options.dir).kubectl_argv)
    elif os.environ.get("KUBECONFIG"):
        argv = [str(go_build.Build.of(os.environ).ensure(say=tell)), "kubectl"]
    else:
        raise ClusterError("say which cluster: --dir, or KUBECONFIG in the environment")
    os.execv(argv[0], [*argv, *options.args])  # noqa: S606  # no shell is the point


def main() -> int:
    """Run one command."""
    options = parser().parse_args()
    commands = {"up": up, "down": down, "status": status, "build": build, "kubectl": kubectl}
    try:
        return commands[options.verb](options)
    except ClusterError as error:
        tell(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
