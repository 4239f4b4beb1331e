"""Where a control plane comes from, decided from an environment that is handed in."""

import json
import os
import shutil
from pathlib import Path

import pytest

from local_cluster import ClusterError, binaries, go_build

PROGRAMS = ("kube-apiserver", "etcd", "kubectl")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A person's environment with nothing in it."""
    (tmp_path / "path").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def programs(folder: Path, *names: str) -> Path:
    """Write a folder of programs that do nothing."""
    for name in names:
        script(folder / name, "exit 0")
    return folder


def cached(environ: dict[str, str]) -> Path:
    """Put a build into the cache."""
    return script(go_build.Build.of(environ).binary, "exit 0")


def envtest(environ: dict[str, str], version: str, *names: str) -> Path:
    """Put downloaded binaries where setup-envtest puts them."""
    store = Path(environ["HOME"], ".local/share/kubebuilder-envtest/k8s")
    return programs(store / f"{version}-linux-{binaries.go_architecture()}", *(names or PROGRAMS))


def lent(environ: dict[str, str], tmp_path: Path, context: str) -> Path:
    """Write a kubeconfig, and a kubectl that reads it."""
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority-data": ""}
    document = {"current-context": context, "clusters": [{"name": "c", "cluster": cluster}]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(document) + "\n")
    script(Path(environ["PATH"], "kubectl"), 'while read -r line; do echo "$line"; done < ' + str(kubeconfig))
    return kubeconfig


def resolve(environ: dict[str, str]) -> tuple[binaries.Programs | binaries.Lent, list[str]]:
    """Resolve, and give what was said too."""
    said: list[str] = []
    return binaries.resolve(environ, say=said.append), said


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({"assets", "kubeconfig", "cache", "envtest"}, "KUBEBUILDER_ASSETS"),
        ({"kubeconfig", "cache", "envtest"}, "OPENSCALE_DEV_KUBECONFIG (kind-demo)"),
        ({"cache", "envtest"}, "built from Go modules"),
        ({"envtest"}, "envtest"),
    ],
)
def test_the_first_that_is_there_is_taken(
    environ: dict[str, str], tmp_path: Path, present: set[str], expected: str
) -> None:
    """The order is assets, lent cluster, cached build, downloaded envtest; and the choice is said."""
    if "assets" in present:
        environ["KUBEBUILDER_ASSETS"] = str(programs(tmp_path / "assets", *PROGRAMS))
    if "kubeconfig" in present:
        environ["OPENSCALE_DEV_KUBECONFIG"] = str(lent(environ, tmp_path, "kind-demo"))
    if "cache" in present:
        # A kubectl that reads the lent kubeconfig is then found in the build.
        binary = cached(environ)
        if "kubeconfig" in present:
            shutil.copy(Path(environ["PATH"], "kubectl"), binary)
    if "envtest" in present:
        envtest(environ, "1.36.0")
    found, said = resolve(environ)
    assert found.origin.startswith(expected)
    assert said[0] == f"cluster: {found.origin}"


def test_nothing_there_and_no_go_says_every_way_out(environ: dict[str, str]) -> None:
    """Without Go the message names the three things that help."""
    with pytest.raises(ClusterError, match="no `go`") as refused:
        resolve(environ)
    for cure in ("install Go 1.26", "KUBEBUILDER_ASSETS", "OPENSCALE_DEV_KUBECONFIG"):
        assert cure in str(refused.value)


def test_assets_without_a_program_are_an_error_not_a_fallback(environ: dict[str, str], tmp_path: Path) -> None:
    """Who set KUBEBUILDER_ASSETS wants that and nothing else: what is missing is named."""
    environ["KUBEBUILDER_ASSETS"] = str(programs(tmp_path / "assets", "etcd"))
    cached(environ)
    with pytest.raises(ClusterError, match="no kube-apiserver"):
        resolve(environ)


def test_assets_bring_a_controller_manager_only_if_it_is_there(environ: dict[str, str], tmp_path: Path) -> None:
    """envtest ships none, and that is said; a folder that has one is used whole."""
    folder = programs(tmp_path / "assets", *PROGRAMS)
    environ["KUBEBUILDER_ASSETS"] = str(folder)
    found, said = resolve(environ)
    assert isinstance(found, binaries.Programs)
    assert found.controller_manager is None
    assert "no controller-manager" in said[1]
    programs(folder, "kube-controller-manager")
    found, said = resolve(environ)
    assert isinstance(found, binaries.Programs)
    assert found.controller_manager == (str(folder / "kube-controller-manager"),)
    assert len(said) == 1


def test_the_newest_usable_envtest_is_taken(environ: dict[str, str]) -> None:
    """Versions compare as numbers; too old ones and incomplete ones do not count."""
    envtest(environ, "1.9.0")
    assert binaries.downloaded_envtest(environ) is None
    envtest(environ, "1.32.0")
    newest = envtest(environ, "1.36.10")
    envtest(environ, "1.36.9")
    envtest(environ, "1.37.0", "kubectl")
    assert binaries.downloaded_envtest(environ) == newest


@pytest.mark.parametrize("context", ["kind-a", "k3d-b", "minikube", "docker-desktop"])
def test_contexts_for_development_are_allowed(context: str) -> None:
    """The usual names of clusters for development pass."""
    binaries.refuse_unless_allowed(context, "")


@pytest.mark.parametrize("context", ["prod", "my-kind-a", "kind", "Minikube", "", "admin@eu-de-1"])
def test_any_other_context_is_refused(context: str) -> None:
    """A name that only resembles an allowed one is refused, and the message says how to allow it."""
    with pytest.raises(ClusterError, match="is refused") as refused:
        binaries.refuse_unless_allowed(context, "")
    assert "OPENSCALE_DEV_CONTEXTS" in str(refused.value)


def test_the_owner_can_allow_a_context_by_name(environ: dict[str, str], tmp_path: Path) -> None:
    """OPENSCALE_DEV_CONTEXTS extends the list, and does not replace it."""
    environ["OPENSCALE_DEV_KUBECONFIG"] = str(lent(environ, tmp_path, "mine"))
    with pytest.raises(ClusterError, match="'mine' is refused"):
        resolve(environ)
    environ["OPENSCALE_DEV_CONTEXTS"] = "theirs, mine"
    assert resolve(environ)[0].origin == "OPENSCALE_DEV_KUBECONFIG (mine)"
    binaries.refuse_unless_allowed("kind-a", environ["OPENSCALE_DEV_CONTEXTS"])


def test_a_real_kubectl_reduces_a_kubeconfig_to_the_chosen_context(tmp_path: Path) -> None:
    """Of two contexts only the chosen one is kept: a later switch in the file cannot lead us elsewhere."""
    kubectl = binaries.find_kubectl(os.environ)
    if kubectl is None:
        pytest.skip("there is no kubectl, in the cache or on the PATH")
    clusters = [
        {"name": name, "cluster": {"server": f"https://{name}.example", "insecure-skip-tls-verify": True}}
        for name in ("production", "kind-a")
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": clusters,
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": entry["name"], "context": {"cluster": entry["name"], "user": "u"}} for entry in clusters],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    environ = {**os.environ, "OPENSCALE_DEV_KUBECONFIG": str(path)}
    environ.pop("OPENSCALE_DEV_CONTEXTS", None)
    with pytest.raises(ClusterError, match="'production' is refused"):
        binaries.from_kubeconfig(path, environ)
    taken = binaries.from_kubeconfig(path, {**environ, "OPENSCALE_DEV_CONTEXT": "kind-a"})
    assert taken.url == "https://kind-a.example"
    assert "production" not in taken.kubeconfig
    assert json.loads(taken.kubeconfig)["current-context"] == "kind-a"
