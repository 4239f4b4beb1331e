"""Builds the control plane's one binary from Go modules, once per user, and keeps it in a cache.

The cached file's name holds a hash of everything that it is built from; a lock makes two
processes that want it at the same time build it once.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from local_cluster.errors import ClusterError

Say = Callable[[str], None]

MODULE = Path(__file__).with_name("binary")
SOURCES = ("go.mod", "go.sum", "main.go")
KUBERNETES = "v1.36.3"
NEEDED_GO = (1, 26)
SWITCHING_GO = (1, 21)  # from here on Go fetches the newer toolchain that a go.mod asks for
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.2

_MAJOR, _MINOR = KUBERNETES.removeprefix("v").split(".")[:2]
_VERSION = {
    "gitVersion": KUBERNETES,
    "gitMajor": _MAJOR,
    "gitMinor": _MINOR,
    "gitTreeState": "archive",
    "gitCommit": "",
}
LDFLAGS = " ".join(
    ["-s", "-w"]
    + [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in _VERSION.items()
    ]
)


@dataclass(frozen=True, slots=True)
class Build:
    """Where the binary is, or will be, and what it is built with."""

    module: Path
    binary: Path
    environ: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, str], module: Path = MODULE) -> Self:
        """Name the build of this module for the user whose environment this is."""
        digest = hashlib.sha256(LDFLAGS.encode())
        for name in SOURCES:
            digest.update(b"\0" + (module / name).read_bytes())
        name = f"kubernetes-{KUBERNETES}-{digest.hexdigest()[:16]}"
        return cls(module, cache_folder(environ) / name, environ)

    def ensure(self, *, say: Say) -> Path:
        """Return the binary, building it first if nobody has yet."""
        if self.binary.exists():
            return self.binary
        self.binary.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(say):
            if not self.binary.exists():  # else the one we waited for has built it
                self._build(find_go(self.environ, self.module), say)
        return self.binary

    @contextlib.contextmanager
    def _lock(self, say: Say) -> Iterator[None]:
        with self._beside("lock").open("ab") as lock:
            begun = told = time.monotonic()
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() - told >= PROGRESS_SECONDS or told == begun:
                        told = time.monotonic()
                        say(f"cluster: another process is building it, waiting ({told - begun:.0f} s)")
                    time.sleep(POLL_SECONDS)
                else:
                    break
            yield

    def _beside(self, ending: str) -> Path:
        return self.binary.with_name(f"{self.binary.name}.{ending}")

    def _build(self, go: str, say: Say) -> None:
        say(f"cluster: building Kubernetes {KUBERNETES} by Go: five to ten minutes, this first time only")
        unfinished = self._beside(str(os.getpid()))
        log = self._beside("log")
        command = [go, "build", "-trimpath", f"-ldflags={LDFLAGS}", "-o", str(unfinished), "."]
        begun = time.monotonic()
        try:
            with log.open("wb") as output:
                code = _wait(self._start(command, output), begun, say)
            if code:
                last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise ClusterError(f"`go build` failed with {code} in {self.module}:\n{last}")
            unfinished.replace(self.binary)
        finally:
            unfinished.unlink(missing_ok=True)
        say(f"cluster: built in {time.monotonic() - begun:.0f} s, kept as {self.binary}")

    def _start(self, command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.module,
            env={**self.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _wait(process: subprocess.Popen[bytes], begun: float, say: Say) -> int:
    try:
        while True:
            try:
                return process.wait(PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"cluster: still building ({time.monotonic() - begun:.0f} s)")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Name this user's cache folder for such binaries."""
    if base := environ.get("XDG_CACHE_HOME"):
        return Path(base, "openscale-byok")
    if home := environ.get("HOME"):
        return Path(home, ".cache", "openscale-byok")
    raise ClusterError("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep the binary in")


def find_go(environ: Mapping[str, str], module: Path = MODULE) -> str:
    """Find a Go toolchain that can build the module, or say what is missing."""
    needed = ".".join(map(str, NEEDED_GO))
    cure = (
        f"install Go {needed} or newer (https://go.dev/dl), or set KUBEBUILDER_ASSETS to what "
        "`setup-envtest use -p path` prints, or OPENSCALE_DEV_KUBECONFIG to a kind cluster's kubeconfig"
    )
    go = shutil.which("go", path=environ.get("PATH", ""))
    if go is None:
        raise ClusterError(f"there is no `go` on the PATH to build a control plane with: {cure}")
    own = _version(go, {**environ, "GOTOOLCHAIN": "local"}, None)
    if own[0] >= NEEDED_GO:
        return go
    has = f"{go} is Go {'.'.join(map(str, own[0]))}"
    if own[0] < SWITCHING_GO:
        raise ClusterError(f"{has}, too old to build Kubernetes {KUBERNETES}: {cure}")
    switched = _version(go, environ, module)
    if switched[0] < NEEDED_GO:
        raise ClusterError(f"{has}, and could not fetch a newer one for itself ({switched[1]}): {cure}")
    return go


def _version(go: str, environ: Mapping[str, str], folder: Path | None) -> tuple[tuple[int, int], str]:
    asked = subprocess.run(
        [go, "env", "GOVERSION"], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    number = re.match(r"go(\d+)\.(\d+)", asked.stdout)
    if number is None:
        return (0, 0), (asked.stderr or asked.stdout).strip()
    return (int(number[1]), int(number[2])), ""
