"""The local cluster from the shell."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import local_cluster

DEV = Path(local_cluster.__file__).parents[1]
ENVIRON = {**os.environ, "PYTHONPATH": str(DEV)}


def command(*args: str) -> list[str]:
    """Write a command of the local cluster."""
    return [sys.executable, "-m", "local_cluster", *args]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    return subprocess.run(command(*args), capture_output=True, text=True, env=ENVIRON)


def test_up_and_down_in_the_background(tmp_path: Path) -> None:
    """`up --detach` prints what a shell needs; `kubectl` and `status` find it; `down` removes it, even twice."""
    folder = str(tmp_path / "cluster")
    up = run("up", f"--dir={folder}", "--detach", "--unsafe-no-fsync")
    assert up.returncode == 0, up.stderr
    assert up.stdout == f"export KUBECONFIG={folder}/kubeconfig\n"
    again = run("up", f"--dir={folder}", "--detach")
    assert again.returncode == 1
    assert "a cluster is running" in again.stderr
    listed = run("kubectl", f"--dir={folder}", "--", "get", "namespace", "default", "--output=name")
    assert listed.stdout == "namespace/default\n"
    status = run("status", f"--dir={folder}")
    assert (status.returncode, "running" in status.stdout) == (0, True)
    assert run("down", f"--dir={folder}").returncode == 0
    assert not Path(folder).exists()
    assert run("status", f"--dir={folder}").returncode == 1
    assert run("down", f"--dir={folder}").returncode == 0


def test_control_c_ends_a_cluster_in_the_foreground(tmp_path: Path) -> None:
    """`up` without --detach ends cleanly at Ctrl-C and leaves no folder."""
    folder = tmp_path / "cluster"
    with subprocess.Popen(
        command("up", f"--dir={folder}", "--unsafe-no-fsync"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    ) as foreground:
        assert foreground.stderr is not None
        for line in foreground.stderr:
            if "Ctrl-C" in line:
                break
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(30) == 0
    assert not folder.exists()


def test_down_keeps_its_hands_off_a_folder_of_somebody_elses(tmp_path: Path) -> None:
    """A folder that is not a cluster's is not removed."""
    (tmp_path / "thesis").touch()
    assert "there is none" in run("down", f"--dir={tmp_path}").stderr
    assert (tmp_path / "thesis").exists()


def test_kubectl_never_falls_back_to_the_home_folder() -> None:
    """Without a cluster and without KUBECONFIG nothing is run."""
    environ = {name: value for name, value in ENVIRON.items() if name != "KUBECONFIG"}
    done = subprocess.run(command("kubectl", "--", "version"), capture_output=True, text=True, env=environ)
    assert done.returncode == 1
    assert "say which cluster" in done.stderr
