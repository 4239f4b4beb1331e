"""A program that does not run says so as it says everything: one line of JSON, whole, on standard error."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CANARY = "c4n4ry"


class Forbidding(BaseHTTPRequestHandler):
    """An API server that lets nobody do anything."""

    def do_GET(self) -> None:
        body = json.dumps({"kind": "Status", "message": CANARY}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def forbidding(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": CANARY}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    yield file
    server.shutdown()
    server.server_close()
    thread.join(10)


def started(program: str, **environment: str) -> tuple[int, list[dict[str, str]]]:
    """Start a program by hand; its exit code, and what it said."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENSCALE_BYOK_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-m", "openscale_byok", program],
        env=clean | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not done.stdout
    assert CANARY not in done.stderr
    if environment.get("OPENSCALE_BYOK_LOG_FORMAT") == "text":
        return done.returncode, [{"line": line} for line in done.stderr.splitlines()]
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize("program", ["run", "gateway"])
def test_a_refusal_to_run_is_a_line_that_names_reason_and_cause(program: str, forbidding: Path) -> None:
    """With what the API server was asked for: also where that is a group of kinds, and no object."""
    code, lines = started(program, KUBECONFIG=str(forbidding))
    assert code == 1
    said = lines[-1]
    assert (said["event"], said["level"], said["reason"]) == ("refusing to run", "error", "ClusterUnavailable")
    assert said["message"] == "the API server answers 403 for /apis/openscale.byok.dev/v1alpha1"


@pytest.mark.parametrize("program", ["run", "gateway"])
def test_a_wrong_setting_is_a_line_too(program: str) -> None:
    """One for each, by name; what was given is not shown."""
    code, lines = started(program, OPENSCALE_BYOK_LOG_LEVEL=CANARY, OPENSCALE_BYOK_WRITES_IN_FLIGHT=CANARY)
    assert code == 2
    assert {line["setting"] for line in lines} == {"OPENSCALE_BYOK_LOG_LEVEL", "OPENSCALE_BYOK_WRITES_IN_FLIGHT"}
    assert all(line["event"] == "wrong setting" and line["level"] == "error" for line in lines)


@pytest.mark.parametrize("program", ["run", "gateway"])
def test_a_setting_that_is_misspelt_is_a_line_too(program: str) -> None:
    """Beside those that are wrong: all of them at once, each with its cure."""
    code, lines = started(program, OPENSCALE_BYOK_KEY_POLL_SECOND=CANARY, OPENSCALE_BYOK_NO_PROXY=f"{CANARY},b")
    assert code == 2
    assert {line["setting"]: line["message"] for line in lines} == {
        "OPENSCALE_BYOK_KEY_POLL_SECOND": "there is no such setting; did you mean OPENSCALE_BYOK_KEY_POLL_SECONDS?",
        "OPENSCALE_BYOK_NO_PROXY": 'must be JSON, as in ["one", "another"]',
    }


@pytest.mark.parametrize("program", ["run", "gateway"])
def test_text_is_text_from_the_first_line(program: str, forbidding: Path) -> None:
    """Also where it is said that the program does not run, and where another setting is wrong."""
    code, lines = started(program, KUBECONFIG=str(forbidding), OPENSCALE_BYOK_LOG_FORMAT="text")
    assert code == 1
    assert " error   refusing to run reason=ClusterUnavailable message=" in lines[-1]["line"]
    code, lines = started(program, OPENSCALE_BYOK_LOG_FORMAT="text", OPENSCALE_BYOK_LOG_LEVEL=CANARY)
    assert code == 2
    assert " error   wrong setting setting=OPENSCALE_BYOK_LOG_LEVEL message=" in lines[-1]["line"]
