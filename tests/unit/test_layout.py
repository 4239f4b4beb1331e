"""The folder `operator/` shares its name with a module of the standard library. It must never shadow it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["operator/__init__.py", "operator/__init__.pyi", "operator.py", "operator.pyi"])
def test_nothing_shadows_the_standard_library(name):
    """`operator` stays the standard library's: there is no module of that name in the repository's root."""
    assert not (ROOT / name).exists()


def test_a_clean_interpreter_in_the_root_finds_its_own_operator():
    """With the root first on sys.path, nothing imported before, `import operator` finds the standard one."""
    code = "import sys; assert sys.path[0] == ''; import operator, collections; print(operator.__file__)"
    done = subprocess.run([sys.executable, "-S", "-E", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(ROOT)


def test_pytest_puts_nothing_on_the_path(pytestconfig):
    """Tests run against the installed package, as users do: pytest adds neither the root nor test folders."""
    assert pytestconfig.getini("pythonpath") == []
    assert pytestconfig.getoption("importmode") == "importlib"
