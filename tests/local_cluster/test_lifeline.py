"""Nothing outlives who started it: the supervisor alone, with processes that cost nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import local_cluster
from local_cluster import ClusterError, boot, lifeline

DEV = Path(local_cluster.__file__).parents[1]
Until = Callable[[Callable[[], bool]], None]
Children = Callable[[int], set[int]]
Runs = Callable[[int], bool]

# Starts a supervisor with two processes in the folder that argv names, in one of several ways.
STARTER = """
import os, sys, threading, time
from pathlib import Path
from local_cluster import boot, lifeline

def start():
    folder, lock = boot.make_folder(Path(sys.argv[2]))
    line = lifeline.Lifeline(folder, lock)
    for name in ("one", "two"):
        line.start(name, ["sleep", "1000"])
    lines.append(line)

lines = []
if sys.argv[1] == "thread":  # the thread that forks is gone long before the process
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
else:
    start()
if sys.argv[1] == "detached":
    lines[0].detach()
holder = os.fork() if sys.argv[1] == "fork" else 0  # a fork that holds the line open
if sys.argv[1] == "fork" and not holder:
    sys.stdin.read()
    os._exit(0)
print(lines[0].supervisor, holder, flush=True)
sys.stdin.read()
"""


class Starter:
    """A process that started a supervisor, to be killed."""

    def __init__(self, how: str, folder: Path, until: Until, children: Children) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER, how, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(DEV)},
        )
        assert self.process.stdout is not None
        self.supervisor, self.holder = map(int, self.process.stdout.readline().split())
        until(lambda: len(children(self.supervisor)) == 2)
        self.owned = children(self.supervisor)

    def kill(self) -> None:
        """Kill it with no chance to tidy up; whatever it forked lives on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Close the pipes, which lets a fork of it end."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.mark.parametrize("how", ["plain", "thread", "fork"])
def test_a_killed_starter_leaves_nothing(
    how: str, tmp_path: Path, until: Until, children: Children, runs: Runs
) -> None:
    """After kill -9 of the starter its processes, supervisor and folder go, however it started them."""
    folder = tmp_path / "cluster"
    starter = Starter(how, folder, until, children)
    starter.kill()
    until(lambda: not any(map(runs, {*starter.owned, starter.supervisor})))
    assert not folder.exists()
    assert not starter.holder or runs(starter.holder)  # it held the line open all the time
    starter.close()


def test_a_living_starter_keeps_it_when_the_starting_thread_is_gone(
    tmp_path: Path, until: Until, children: Children, runs: Runs
) -> None:
    """The end of the thread that started a cluster is not the end of the cluster."""
    folder = tmp_path / "cluster"
    starter = Starter("thread", folder, until, children)
    assert lifeline.is_alive(folder)
    assert all(map(runs, starter.owned))
    starter.kill()
    starter.close()
    until(lambda: not folder.exists())


def test_a_killed_supervisor_takes_its_processes_along(
    tmp_path: Path, until: Until, children: Children, runs: Runs
) -> None:
    """After kill -9 of starter and supervisor no process is left; the next start sweeps the folder."""
    folder = tmp_path / "cluster"
    starter = Starter("plain", folder, until, children)
    starter.kill()
    starter.close()
    until(lambda: not folder.exists())

    starter = Starter("plain", folder, until, children)
    os.kill(starter.supervisor, signal.SIGKILL)
    until(lambda: not any(map(runs, {*starter.owned, starter.supervisor})))
    starter.kill()
    starter.close()
    assert folder.exists()
    swept, lock = boot.make_folder(folder)
    assert [path.name for path in swept.iterdir()] == [lifeline.LOCK]
    os.close(lock)


def test_detached_outlives_its_starter_until_it_is_stopped(
    tmp_path: Path, until: Until, children: Children, runs: Runs
) -> None:
    """A detached one survives kill -9 of its starter; `end` removes all of it."""
    folder = tmp_path / "cluster"
    starter = Starter("detached", folder, until, children)
    starter.kill()
    starter.close()
    assert lifeline.is_alive(folder)
    assert all(map(runs, starter.owned))
    lifeline.end(folder, starter.supervisor)
    assert not any(map(runs, {*starter.owned, starter.supervisor}))
    assert not folder.exists()


def test_one_process_that_dies_ends_the_others_and_is_named(tmp_path: Path, until: Until, children: Children) -> None:
    """The death report has the name, the code and the end of the log; the others are killed."""
    folder, lock = boot.make_folder(tmp_path / "cluster")
    line = lifeline.Lifeline(folder, lock)
    line.start("long", ["sleep", "1000"])
    line.start("short", ["sh", "-c", "echo last words; exit 7"])
    until(lambda: lifeline.death(folder) is not None)
    assert lifeline.death(folder) == lifeline.Death("short", 7, "  last words")
    assert not children(line.supervisor)
    lifeline.end(folder, line.supervisor, line)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path, until: Until) -> None:
    """A missing program is reported as the death of its process, with the system's reason."""
    folder, lock = boot.make_folder(tmp_path / "cluster")
    line = lifeline.Lifeline(folder, lock)
    line.start("ghost", [str(tmp_path / "nowhere")])
    until(lambda: lifeline.death(folder) is not None)
    assert "No such file" in str(lifeline.death(folder))
    lifeline.end(folder, line.supervisor, line)


def test_a_folder_has_one_cluster_and_nothing_else(tmp_path: Path) -> None:
    """A folder in use, or with somebody's files in it, is refused and left as it is."""
    folder, lock = boot.make_folder(tmp_path / "cluster")
    line = lifeline.Lifeline(folder, lock)
    with pytest.raises(ClusterError, match="a cluster is running"):
        boot.make_folder(folder)
    lifeline.end(folder, line.supervisor, line)

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").touch()
    with pytest.raises(ClusterError, match="is not empty"):
        boot.make_folder(mine)
    assert (mine / "thesis").exists()


def test_two_starters_cannot_take_one_folder(tmp_path: Path) -> None:
    """Of many that want the same folder at once, one gets it."""
    taken: list[int] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        with contextlib.suppress(ClusterError):
            taken.append(boot.make_folder(tmp_path / "cluster")[1])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    os.close(taken[0])
