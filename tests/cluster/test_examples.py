"""What people copy is what the API server takes: every example, and every manifest in the docs."""

import re
from pathlib import Path

import pytest
import yaml

from openscale_byok.resources import API_VERSION

ROOT = Path(__file__).parents[2]
CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f:key:9f8e7d6c-9f8e-4d7c-8b6a-9f8e7d6c5b4a"
)
PAGES = [path for pattern in ("*.md", "docs/**/*.md", "examples/*.md") for path in sorted(ROOT.glob(pattern))]
BLOCKS = {
    f"{path.relative_to(ROOT).as_posix()}:{number}": block
    for path in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL))
    if "apiVersion:" in block
}
EXAMPLES = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
MANIFESTS = BLOCKS | EXAMPLES


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_api_server_takes_it_as_it_is(crds, namespace, name):
    """Strict: no unknown field, no field of another type, every rule of the CRDs; nothing is stored."""
    text = MANIFESTS[name].replace("ROOT_KEY_CRN", CRN)
    taken = crds.kubectl(
        "create", "-n", namespace, "--dry-run=server", "--validate=strict", "-o", "yaml", "-f", "-", input=text
    )
    assert taken.stdout


def test_the_placeholder_is_refused_with_the_cure(crds, namespace):
    """Who forgets to put their root key in is told what to put there."""
    done = crds.kubectl(
        "create", "-n", namespace, "--dry-run=server", "-f", "-", input=EXAMPLES["binding.yaml"], check=False
    )
    assert done.returncode != 0
    assert "spec.rootKey.crn" in done.stderr
    assert "must be the CRN of a root key" in done.stderr


def test_there_is_an_example_of_each_kind(crds):
    """Nobody has to guess how one of our kinds is written."""
    shown = {yaml.safe_load(text)["kind"] for text in EXAMPLES.values() if API_VERSION in text}
    served = crds.kubectl("api-resources", "--api-group", API_VERSION.split("/")[0], "-o", "name").stdout.split()
    assert {f"{kind.lower()}s.{API_VERSION.split('/')[0]}" for kind in shown} == set(served)
