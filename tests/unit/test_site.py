"""The pages as a site: built in strict mode, complete, and asking no other server for anything."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".tools" / "docs" / "bin" / "python"
_LOADS = re.compile(
    r'<(?:script|img|iframe)[^>]*\bsrc="?(https?:)?//|<link[^>]*rel="?stylesheet"?[^>]*href="?(https?:)?//'
)


@pytest.mark.skipif(not PYTHON.exists(), reason="no environment for the site here; `make docs` makes it")
def test_the_site_builds_and_asks_no_other_server(tmp_path):
    """No link or anchor is broken, none is missing from the navigation, and none loads anything from elsewhere."""
    command = [PYTHON, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(ROOT.glob("docs/**/*.md")))
    assert not [page.name for page in pages if _LOADS.search(page.read_text())]
