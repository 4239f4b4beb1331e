"""The emulator as a program: how it starts, what it says, how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import key_protect_emulator
from key_protect_emulator.control import Emulator, EmulatorError

README = Path(key_protect_emulator.__file__).with_name("README.md")
PROGRAM = [sys.executable, "-m", "key_protect_emulator"]
STARTER = """
import sys, time
from key_protect_emulator.control import Emulator
print(Emulator.start().pid, flush=True)
time.sleep(600)
"""


def test_ends_on_sigterm(tmp_path) -> None:
    """SIGTERM ends it with code 0; the ready line says where it was, on stdout and in the ready file."""
    ready_file = tmp_path / "ready.json"
    command = [*PROGRAM, "--port", "0", "--ready-file", str(ready_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        line = process.stdout.readline()
        assert json.loads(line) == json.loads(ready_file.read_text())
        assert ready_file.stat().st_mode & 0o077 == 0
        fields = {"url", "iam_url", "account", "instance", "instance_crn", "service_id", "api_key"}
        assert set(json.loads(line)) == fields
        with Emulator.connect(json.loads(line)["url"]) as other:
            assert other.create_root_key().startswith(other.instance.crn.removesuffix("::"))
        assert process.poll() is None, "a client that did not start it leaves it running"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_ends_with_its_starter(how: signal.Signals) -> None:
    """When the starter dies, even by kill -9, nothing is left behind."""
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        emulator = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(how)
        starter.wait(10)
    emulator.wait(10)


def test_stop_twice(tmp_path) -> None:
    """Stopping is idempotent, and so is leaving the context afterwards."""
    with Emulator.start(tmp_path / "s.json") as emulator:
        emulator.stop()
    emulator.stop()
    assert not psutil.pid_exists(emulator.pid)


def test_port_in_use() -> None:
    """A port that is taken is a sentence and code 1, not a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmulatorError, match="cannot listen on") as failed:
            Emulator.start(port=taken.getsockname()[1])
    assert "Traceback" not in str(failed.value)


def test_help_is_in_the_readme() -> None:
    """The README shows --help as it is."""
    environment = {**os.environ, "COLUMNS": "100"}
    shown = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, env=environment, check=True)
    assert shown.stdout.strip() in README.read_text()


def test_readme_example_runs(tmp_path) -> None:
    """The README's shell example works as printed."""
    (example,) = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    with Emulator.start(ready_file=tmp_path / "ready.json") as started:
        command = ["bash", "-eu", "-o", "pipefail", "-c", example]
        shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert shown.returncode == 0, shown.stderr
        called = {"iam.token": 1, "wrap": 1, "unwrap": 1, "disable": 1, "enable": 1}
        assert started.counts() == called
        assert '"operations": {' in shown.stdout


def test_readme_names_every_method() -> None:
    """Every public method of the control client is in the README."""
    public = {name for name in vars(Emulator) if not name.startswith("_")}
    assert {name for name in public if not re.search(rf"\b{name}\b", README.read_text())} == set()


def test_modules_are_small() -> None:
    """No module grows beyond 300 lines."""
    modules = {path.name: len(path.read_text().splitlines()) for path in README.parent.rglob("*.py")}
    assert {name: length for name, length in modules.items() if length > 300} == {}


def own_address() -> str | None:
    """An address of this machine that is not loopback (nothing is sent to find it)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


@pytest.mark.parametrize("allowed", [False, True])
def test_control_is_for_this_machine(wire, allowed: bool) -> None:
    """From another address the customer's API answers; /emulator does so only with --remote-control."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    command = [*PROGRAM, "--host", "0.0.0.0", "--port", "0"]  # noqa: S104 -- the point of the test
    command += ["--remote-control"] if allowed else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        url = f"http://{address}:{port}"
        assert wire.send(url, "GET", "/identity/keys").status == 200
        assert wire.send(url, "GET", "/emulator/ready").status == (200 if allowed else 403)
        process.terminate()
