"""The benchmarks run to their end. What they measure is theirs to say."""

import subprocess
import sys
from pathlib import Path

from local_cluster import Cluster

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_revocation_drill(crds: Cluster) -> None:
    """Two rounds of each way to take a root key away: every reader is refused in time, and then succeeds again."""
    argv = [str(BENCHMARKS / "revocation.py"), "--dry", "--rounds=2", "--others=2", "--cut-off=0", "--readers=5"]
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    assert "every round ended within its bound" in done.stdout
    assert all(f"{part}: 2 rounds" in done.stdout for part in ("disabled", "grant_removed", "api_key_deleted"))
