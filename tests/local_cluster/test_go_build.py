"""The binary is built once, by a Go that can, and kept under a name that says what it is built from."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import local_cluster
from local_cluster import ClusterError, go_build

DEV = Path(local_cluster.__file__).parents[1]

# Builds what prints its own arguments, counts how often it did, and waits for a file to appear.
FAKE_GO = """
case "$1" in
  env) echo go{version} ;;
  build)
    echo built >> {counter}
    while ! [ -e {gate} ]; do :; done
    [ -e {broken} ] && echo "undefined: nonsense" && exit 1
    for argument; do [ "$previous" = -o ] && echo made > "$argument"; previous=$argument; done ;;
esac
exit 0
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A person's environment with a Go of our making in it."""
    environ = {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    fake_go(tmp_path, "1.26.0")
    (tmp_path / "gate").touch()
    return environ


def fake_go(tmp_path: Path, version: str) -> None:
    """Write a Go that says it is of this version."""
    go = tmp_path / "path" / "go"
    go.parent.mkdir(exist_ok=True)
    text = FAKE_GO.format(
        version=version,
        counter=tmp_path / "counter",
        gate=tmp_path / "gate",
        broken=tmp_path / "broken",
    )
    go.write_text(f"#!/bin/sh\n{text}")
    go.chmod(0o755)


def test_a_second_time_nothing_is_built(environ: dict[str, str], tmp_path: Path) -> None:
    """What is in the cache is used; how long it takes was said before it was built."""
    said: list[str] = []
    build = go_build.Build.of(environ)
    assert build.ensure(say=said.append) == build.binary
    assert build.ensure(say=said.append).read_text() == "made\n"
    assert (tmp_path / "counter").read_text() == "built\n"
    assert "five to ten minutes" in said[0]


def test_two_processes_build_it_once(environ: dict[str, str], tmp_path: Path) -> None:
    """One builds; the other says that it waits, and takes what the first has built."""
    (tmp_path / "gate").unlink()
    code = (
        "import json, sys; from local_cluster import go_build;"
        "go_build.Build.of(json.loads(sys.argv[1])).ensure(say=lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", code, json.dumps(environ)]
    waits = threading.Event()

    def watch(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if "another process is building it" in line:
                waits.set()

    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(DEV)}) for _ in range(2)
    ]
    readers = [threading.Thread(target=watch, args=(process,)) for process in both]
    for reader in readers:
        reader.start()
    try:
        assert waits.wait(30)
    finally:
        (tmp_path / "gate").touch()
        for process, reader in zip(both, readers, strict=True):
            assert process.wait(30) == 0
            reader.join()
            assert process.stdout is not None
            process.stdout.close()
    assert (tmp_path / "counter").read_text() == "built\n"


def test_a_failed_build_says_why_and_leaves_no_binary(environ: dict[str, str], tmp_path: Path) -> None:
    """The compiler's last words are in the error, and the next try builds again."""
    (tmp_path / "broken").touch()
    build = go_build.Build.of(environ)
    with pytest.raises(ClusterError, match="undefined: nonsense"):
        build.ensure(say=lambda _: None)
    assert not build.binary.exists()
    (tmp_path / "broken").unlink()
    build.ensure(say=lambda _: None)
    assert build.binary.exists()


def test_the_name_changes_with_what_it_is_built_from(environ: dict[str, str], tmp_path: Path) -> None:
    """Another go.sum, go.mod or main.go is another binary."""
    names = set()
    for changed in (None, *go_build.SOURCES):
        module = tmp_path / str(changed)
        module.mkdir()
        for source in go_build.SOURCES:
            content = (go_build.MODULE / source).read_text()
            (module / source).write_text(content + "\n" * (source == changed))
        names.add(go_build.Build.of(environ, module).binary.name)
    assert go_build.Build.of(environ).binary.name in names
    assert len(names) == 1 + len(go_build.SOURCES)


@pytest.mark.parametrize(
    ("version", "refusal"),
    [
        ("1.26.8", None),
        ("1.30.0", None),
        ("1.20.1", "is Go 1.20, too old"),
        ("1.24.0", "could not fetch a newer one"),
    ],
)
def test_a_go_that_cannot_is_refused_before_it_starts(
    environ: dict[str, str], tmp_path: Path, version: str, refusal: str | None
) -> None:
    """Too old a Go is told by its number, with what helps."""
    fake_go(tmp_path, version)
    if refusal is None:
        assert go_build.find_go(environ) == str(tmp_path / "path" / "go")
        return
    with pytest.raises(ClusterError, match=refusal) as refused:
        go_build.find_go(environ)
    assert "install Go 1.26" in str(refused.value)


def test_no_home_is_an_error_that_says_so() -> None:
    """Without a place for the cache nothing is guessed."""
    with pytest.raises(ClusterError, match="XDG_CACHE_HOME"):
        go_build.cache_folder({})
