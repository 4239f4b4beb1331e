"""The gateway's end: whatever ends first is what its process ends with."""

import os
import subprocess
import sys

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.listener import NAMES
from openscale_byok.crypto import authority
from openscale_byok.shell.clock import SystemClock

PROCESS = """
import asyncio, sys
from time import monotonic
from openscale_byok.adapters.certificate_files import FileCertificate
from openscale_byok.shell.app import Health
from openscale_byok.shell.clock import SystemClock
from openscale_byok.shell.gateway.app import _together
from openscale_byok.shell.gateway.application import application
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.pulse import Pulse

class Ends:
    def see(self, kind, raw, *, gone, listed=False): pass
    def unready(self): return []
    async def serve(self): raise RuntimeError("the mistake")

settings = GatewaySettings(gateway_address="127.0.0.1", gateway_port=0, gateway_health_port=0)
certificate = FileCertificate(sys.argv[1], sys.argv[2], SystemClock())
try:
    parts = (Ends(), application(Metrics()), certificate, settings, Health(None), Pulse(monotonic))
    asyncio.run(_together(*parts, (), asyncio.Event()))
except BaseException as error:
    print(repr(error))
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def test_why_it_ended_is_told(tmp_path):
    """kopf cancels the listeners' tasks when what it feeds fails: the failure is what comes out, and not that."""
    clock, keys = SystemClock(), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    signer = authority.create(keys[0], 1, clock.now())
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    files[0].write_bytes(authority.pem(authority.leaf(signer, keys[1], 2, NAMES, clock.now())))
    files[1].write_bytes(authority.private_pem(keys[1]))
    # A cluster that is away: without any, kopf's "no credentials" would sometimes come first.
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    away = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "OPENSCALE"))}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, *map(str, files)],
        env=away | {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "kubeconfig")},
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "RuntimeError('the mistake')"
