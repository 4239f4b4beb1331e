"""What every tier shares: a real cluster, our CRDs on it, and a namespace for each test."""

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from key_protect_emulator.control import Emulator
from local_cluster import Cluster
from openscale_byok.resources import GROUP, KINDS

sys.path.append(str(Path(__file__).parent))  # what several tiers share lies beside this file

# Time limits of single examples say more about who shares the machine than about the code.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

ROOT = Path(__file__).parents[1]
_numbers = count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, as its fixtures are made for the file."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real API server with its controllers, audited where it is ours to configure."""
    with Cluster.start(audit="OPENSCALE_DEV_KUBECONFIG" not in os.environ) as started:
        yield started


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Cluster:
    """The cluster, serving our kinds as `kubectl apply -k crds` installs them."""
    cluster.kubectl("apply", "-k", str(ROOT / "crds"))
    names = [f"crd/{kind.PLURAL}.{GROUP}" for kind in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    return cluster


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace of this test's own."""
    name = f"t{next(_numbers)}-{os.getpid()}"
    crds.kubectl("create", "namespace", name)
    yield name
    crds.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    """Key Protect and IAM, for the tests that need no cluster."""
    with Emulator.start() as started:
        yield started


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """The session's emulator with no faults and no counts."""
    shared_emulator.clear_faults()
    shared_emulator.reset_counts()
    return shared_emulator
