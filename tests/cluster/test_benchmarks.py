"""The benchmarks run to their end. What they measure is theirs to say."""

import subprocess
import sys
from pathlib import Path

from local_cluster import Cluster

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_revocation_drill(crds: Cluster) -> None:
    """Two rounds of each way to take a root key away: every reader is refused in time, and then succeeds again."""
    argv = [str(BENCHMARKS / "revocation.py"), "--dry", "--rounds=2", "--others=2", "--cut-off=0", "--readers=5"]
    told = run(*argv, "--gateway-rounds=2", "--blinded=2")
    assert "every round ended within its bound" in told
    parts = ("disabled", "grant_removed", "api_key_deleted", "disabled, two gateways")
    blinded = ("secret_deleted", "secret_emptied", "another_identity", "patience", "iam_away")
    assert all(f"{part}: 2 rounds" in told for part in (*parts, *(f"blinded_{way}" for way in blinded)))


def test_credential_reads(crds: Cluster) -> None:
    """Each sort of read is measured beside the floor, and every answer is what it must be."""
    told = run(str(BENCHMARKS / "reads.py"), "--dry", "--datamarts=20", "--rounds=1", "--seconds=0.3")
    assert all(
        f"\n{what} " in told for what in ("one data mart", "many data marts", "one, unchanged (304)", "the floor")
    )


def test_memory(crds: Cluster) -> None:
    """Ordinary data marts and fat ones are sealed, and re-encrypted by processes that were started anew."""
    told = run(str(BENCHMARKS / "memory.py"), "--dry", "--datamarts=20", "--fat=3")
    assert all(f"\n{what} " in told for what in ("20 ordinary", "3 fat"))


def test_abuse(crds: Cluster) -> None:
    """Each flood is played beside honest callers; few of it, and short."""
    told = run(str(BENCHMARKS / "abuse.py"), "--dry", "--datamarts=20", "--seconds=0.5", "--crowd=50")
    floods = ("bodies", "bodies_from_here", "health", "health_from_here", "waits", "tokens", "lists")
    assert all(f"\n{flood}: " in told and f"\n{flood} " in told for flood in floods)


def run(*argv: str) -> str:
    """Run a benchmark to its end; what it printed."""
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    return done.stdout
