"""What a version is published as: the same bytes each time, complete, and read by those who will read it."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
import yaml

from openscale_byok import __version__
from release import charts, command_line, install, statement
from release.__main__ import small
from stage import chart

ROOT = Path(__file__).parents[2]
TIME = 1_700_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What needs nothing but the repository, built once."""
    output = tmp_path_factory.mktemp("dist")
    return small(output, time=TIME)


def test_a_second_build_gives_the_same_bytes(built, tmp_path):
    """Whoever builds the commit again can compare sums: wheel, charts and install.yaml differ in no byte."""
    again = small(tmp_path, time=TIME)
    assert statement.sums(again) == statement.sums(built)


def test_everything_carries_the_version_of_the_package(built):
    """The version is said in one place; no file is named by another one."""
    names = {path.name for path in built}
    assert {f"openscale_byok-{__version__}-py3-none-any.whl", f"openscale-byok-{__version__}.tgz"} <= names
    assert all(__version__ in name for name in names - {"install.yaml"})


def test_helm_reads_the_package_as_the_folder(built):
    """The engine that people have renders the package to what it renders the folder to."""
    (package,) = [path for path in built if path.name == f"openscale-byok-{__version__}.tgz"]
    with helm_python.Chart.load(package) as found:
        rendered = found.render({}, name=chart.NAME, namespace=chart.NAME)
    assert rendered == chart.texts({})


def test_a_package_holds_no_editors_leftovers(tmp_path):
    """What .helmignore keeps out of a package is not in ours either."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "Chart.yaml").write_text("name: some\nversion: 1.2.3\n")
    for name in ("values.yaml", "values.yaml~", "old.tgz", ".helmignore"):
        (source / name).touch()
    with tarfile.open(charts.package(source, tmp_path, time=TIME)) as packed:
        assert packed.getnames() == ["some", "some/Chart.yaml", "some/values.yaml"]


def test_install_yaml_is_the_chart_and_the_definitions(built):
    """Each object of the chart by its defaults is in it, each definition, and the namespace; what Helm alone runs is
    not; each fits Kubernetes' own schema."""
    (file,) = [path for path in built if path.name == "install.yaml"]
    found = list(yaml.safe_load_all(file.read_text()))
    named = {(one["kind"], one["metadata"]["name"]) for one in found}
    assert len(named) == len(found)
    rendered = [one for one in chart.render({}) if "helm.sh/hook" not in (one["metadata"].get("annotations") or {})]
    assert {(one["kind"], one["metadata"]["name"]) for one in rendered} <= named
    definitions = {f"{kind}.openscale.byok.dev" for kind in ("datamarts", "openscaleinstances", "rootkeybindings")}
    assert {name for kind, name in named if kind == "CustomResourceDefinition"} == definitions
    for one in found:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_install_yaml_names_what_it_needs_before_what_needs_it():
    """`kubectl apply` goes from top to bottom: the namespace and the accounts are there before the pods."""
    kinds = [one["kind"] for one in install.objects()]
    assert kinds[0] == "Namespace"
    assert max(place for place, kind in enumerate(kinds) if kind == "ServiceAccount") < kinds.index("Deployment")
    spaces = {one["metadata"].get("namespace", chart.NAME) for one in install.objects()}
    assert spaces == {chart.NAME}, "no object goes to whichever namespace happens to be the current one"


def test_the_sums_are_those_that_sha256sum_checks(built):
    """`sha256sum --check` finds every file, and each as it is."""
    folder = built[0].parent
    (folder / "SHA256SUMS").write_text(statement.sums(built))
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == len(built)


def test_the_statement_says_what_was_built_from_which_commit(built, tmp_path):
    """Each file with its own sum, the commit and the locks that it was built from; twice the same."""
    files = list(built)
    made = [
        statement.provenance(files, version=__version__, commit="0" * 40, time=TIME, architectures=["amd64"])
        for _ in range(2)
    ]
    statement.write(tmp_path, files, made[0], __version__)
    assert made[0] == made[1]
    found = json.loads((tmp_path / f"openscale-byok-{__version__}.provenance.json").read_text())
    assert (found["_type"], found["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    sums = {one["name"]: one["digest"]["sha256"] for one in found["subject"]}
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    source, *locks = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": "0" * 40}
    assert len(locks) == 3
    assert str(Path.home()) not in json.dumps(found)


@pytest.fixture
def archive(tmp_path):
    """An archive of a program of two lines, unpacked, in a folder with a space in its name."""
    module = tmp_path / "packages" / "openscale_byok"
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    (module / "__main__.py").write_text("import sys\nprint(*sys.argv[1:])\n")
    packed = command_line.pack(tmp_path / "packages", "some-cli", tmp_path, time=TIME)
    again = command_line.pack(tmp_path / "packages", "some-cli", tmp_path, time=TIME)
    assert packed.read_bytes() == again.read_bytes()
    with tarfile.open(packed) as opened:
        opened.extractall(tmp_path / "a folder", filter="data")
    return tmp_path / "a folder" / "some-cli"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the archive is for Python 3.11")
def test_the_archive_starts_what_is_beside_it(archive, tmp_path):
    """From any folder, by a link too, with the arguments as they are; nothing is written beside it."""
    (tmp_path / "link").symlink_to(archive / "openscale-byok")
    environ = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([tmp_path / "link", "a b", "c"], cwd="/", env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("a b c\n", "")
    assert not list(archive.rglob("__pycache__"))


def test_the_archive_says_which_python_it_wants(archive):
    """Without that Python it names it, and how to point to it, instead of a traceback."""
    environ = {**os.environ, "PYTHON": "/nowhere/python"}
    done = subprocess.run([archive / "openscale-byok"], env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("openscale-byok: /nowhere/python is no Python 3.11; install one")


def test_a_release_of_what_is_not_committed_is_refused(tmp_path):
    """Nobody else could build it again: the program says so, and builds nothing."""
    (leftover := ROOT / "not-committed.tmp").touch()
    try:
        command = [sys.executable, "-m", "release", "--output", str(tmp_path / "dist")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    finally:
        leftover.unlink()
    assert done.returncode == 1
    assert "not committed" in done.stderr
    assert not (tmp_path / "dist").exists()
