"""Writes kubeconfig files: private ones, with absolute paths, never the one in the home folder.

They are JSON, which every reader of kubeconfig's YAML reads.
"""

import json
from pathlib import Path

from local_cluster.certificates import Pair, write_private

NAME = "openscale-local"


def with_certificate(path: Path, url: str, ca_file: Path, user: str, pair: Pair) -> Path:
    """Write a kubeconfig that logs in with a client certificate."""
    credentials = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    return _write(path, url, ca_file, user, credentials)


def with_token(path: Path, url: str, ca_file: Path, token: str) -> Path:
    """Write a kubeconfig that logs in with a bearer token."""
    return _write(path, url, ca_file, "token", {"token": token})


def _write(path: Path, url: str, ca_file: Path, user: str, credentials: dict[str, str]) -> Path:
    # A lent cluster may have a certificate that the system trusts, and no authority to name.
    trust = {"certificate-authority": str(ca_file)} if ca_file.stat().st_size else {}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": url, **trust}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": user, "namespace": "default"}}],
        "current-context": NAME,
    }
    write_private(path, json.dumps(document, indent=2).encode() + b"\n")
    return path
