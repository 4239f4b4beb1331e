"""A tiny process that owns a cluster's processes, so that nothing outlives the one who started it.

Run as a script, by path, with the standard library only. Its first argument is the cluster's
folder, its second the process that started it. It reads one JSON object per line on standard input:

    {"start": "etcd", "argv": [...]}    start a process, its output in NAME.log
    {"freeze": "etcd", "ack": "1"}      stop it where it is (SIGSTOP), so that its files can be copied
    {"thaw": "etcd"}                    let it go on
    {"end": "etcd", "ack": "2"}         kill it; without this order its end would be the cluster's
    {"again": "etcd"}                   start one that was ended, exactly as it was
    {"detach": true}                    from now on live until SIGTERM, whatever becomes of the starter

An order with `ack` was carried out once the file `ack` holds its word.

It ends the cluster when standard input closes, when the starter is gone (both are watched: a
fork of the starter may hold the pipe open), or at SIGTERM: every process is killed and the folder
removed. When one process dies by itself the others are killed at once, `exit.json` says which
one it was, and the folder stays until the starter has read the log (detached: until someone has).
"""

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
CANNOT_START = 127


class Supervisor:
    """Owns the processes of one cluster and its folder."""

    def __init__(self, folder: Path, starter: int) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._pending = b""
        self._attached = True
        self._running = True
        self._removes = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._read)
        self._starter = _watch(starter)
        if self._starter is not None:
            self._selector.register(self._starter, selectors.EVENT_READ, self._starter_gone)
        self._wake, signalled = socket.socketpair()
        self._wake.settimeout(0)
        signalled.settimeout(0)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        self._signalled = signalled  # kept: closing it would silence the signals
        self._selector.register(self._wake, selectors.EVENT_READ, self._signal)
        signal.signal(signal.SIGCHLD, _note)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if os.getppid() != starter:  # gone before it could be watched
            self._running = False

    def run(self) -> None:
        """Do as told until the end, then leave nothing behind."""
        while self._running:
            for key, _ in self._selector.select():
                key.data()
        self._kill()
        if self._removes:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        chunk = os.read(sys.stdin.fileno(), 65536)
        if not chunk:
            self._selector.unregister(sys.stdin.fileno())
            if self._attached:
                self._running = False
            return
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, object]) -> None:
        if "detach" in order:
            self._attached = False
            if self._starter is not None:
                self._selector.unregister(self._starter)
                self._starter = None
            return
        for verb, obey in (("freeze", self._freeze), ("thaw", self._thaw), ("end", self._end), ("again", self._again)):
            if verb in order:
                obey(str(order[verb]))
        if "start" in order:
            name, argv = order["start"], order["argv"]
            if not isinstance(name, str) or not isinstance(argv, list):
                raise TypeError(order)
            self._commands[name] = argv
            self._again(name)
        if "ack" in order:
            word = self._folder / "ack.new"
            word.write_text(str(order["ack"]))
            word.replace(self._folder / "ack")

    def _again(self, name: str) -> None:
        argv = self._commands[name]
        with (self._folder / f"{name}.log").open("ab") as log:
            try:
                self._children[name] = subprocess.Popen(
                    argv,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509  # this process has one thread
                )
            except OSError as error:
                log.write(f"{argv[0]} cannot be started: {error}\n".encode())
                self._report(name, CANNOT_START)

    def _freeze(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGSTOP)
            # The signal stops its threads one after the other: wait for the last, and reap nothing.
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _thaw(self, name: str) -> None:
        if name in self._children:
            self._children[name].send_signal(signal.SIGCONT)

    def _end(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            child.kill()
            child.wait()

    def _signal(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        for name, child in list(self._children.items()):
            if self._running and child.poll() is not None:
                self._report(name, child.returncode)
                return

    def _report(self, name: str, code: int) -> None:
        self._kill()
        report = self._folder / "exit.json.new"
        report.write_text(json.dumps({"name": name, "code": code}))
        report.replace(self._folder / "exit.json")
        if not self._attached:
            self._running = self._removes = False

    def _starter_gone(self) -> None:
        self._running = False

    def _stop(self, *_: object) -> None:
        self._running = False

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        self._children.clear()


def _note(*_: object) -> None:
    """Let the wake-up descriptor tell of the signal."""


def _watch(process: int) -> int | None:
    """Give a descriptor that becomes readable when the process ends, where the system has such."""
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(process)
    return None


def _die_with(parent: int) -> Callable[[], None]:
    """Have the kernel kill a child when this process dies, even by SIGKILL.

    The kernel ties this to the thread that forks; this process has only its main thread.
    """
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):  # not Linux: then only this process's own end is covered
        prctl = None

    def before_exec() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


if __name__ == "__main__":
    os.setsid()  # a Ctrl-C in the starter's terminal is the starter's to handle
    Supervisor(Path(sys.argv[1]), int(sys.argv[2])).run()
