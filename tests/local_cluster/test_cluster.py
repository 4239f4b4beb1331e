"""A real cluster: started, side by side, killed, detached, and what a test may rely on in its API."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import local_cluster
from local_cluster import Cluster, ClusterError, audit, go_build

DEV = Path(local_cluster.__file__).parents[1]
Until = Callable[[Callable[[], bool]], None]


def config_map(name: str, **data: str) -> str:
    """Write a ConfigMap."""
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def answers(url: str) -> bool:
    """Tell whether somebody listens."""
    address = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((address.hostname, address.port), timeout=5):
        return True
    return False


def start_in_another_process(*options: str) -> tuple[subprocess.Popen[str], Path, str]:
    """Start a cluster from a process of its own that can be killed."""
    code = (
        "import sys; from local_cluster import Cluster;"
        f"c = Cluster.start({', '.join(options)}); print(c.directory, c.url, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(DEV)},
    )
    assert process.stdout is not None
    directory, url = process.stdout.readline().split()
    return process, Path(directory), url


def kill(process: subprocess.Popen[str]) -> None:
    """Kill it with no chance to tidy up."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def processes_of(directory: Path) -> list[int]:
    """Find every process that works in the folder or was told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                at = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
                if at == str(directory) or str(directory) in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
    return found


def test_a_killed_starter_leaves_no_port_process_or_folder(until: Until) -> None:
    """After kill -9 of the process that started it, nothing of a real cluster remains."""
    process, directory, url = start_in_another_process()
    assert answers(url)
    assert len(processes_of(directory)) >= 3
    kill(process)
    until(lambda: not processes_of(directory) and not directory.exists())
    assert not answers(url)


def test_detached_survives_its_starter_and_is_found_by_its_folder(tmp_path: Path) -> None:
    """Another process finds a detached cluster by its folder alone, uses it, and stops it."""
    folder = tmp_path / "cluster"
    process, directory, url = start_in_another_process(f"__import__('pathlib').Path({str(folder)!r})", "detached=True")
    kill(process)
    assert directory == folder
    found = Cluster.attach(folder)
    assert (found.url, found.is_alive) == (url, True)
    assert found.kubectl("get", "namespace", "default", "--output=name").stdout == "namespace/default\n"
    by_path = subprocess.run([found.kubectl_path, "get", "ns", "default", "-o", "name"], capture_output=True)
    assert by_path.stdout == b"namespace/default\n"
    found.stop()
    assert not processes_of(folder)
    assert not folder.exists()
    assert not answers(url)
    with pytest.raises(ClusterError, match="no cluster in"):
        Cluster.attach(folder)


def test_two_clusters_side_by_side_share_nothing(tmp_path: Path) -> None:
    """Started at once, two clusters have their own port, authority and objects."""
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(Cluster.start, [tmp_path / "a", tmp_path / "b"])
    with first, second:
        assert first.url != second.url
        first.kubectl("create", "--filename=-", input=config_map("only-here"))
        assert first.kubectl("get", "configmap", "only-here", check=False).returncode == 0
        assert "NotFound" in second.kubectl("get", "configmap", "only-here", check=False).stderr
        crossed = first.kubectl(f"--server={second.url}", "get", "namespaces", check=False)
        assert "certificate signed by unknown authority" in crossed.stderr


def assets(folder: Path, apiserver: str) -> dict[str, str]:
    """Write a folder of programs around the real ones, with an API server of our making."""
    binary = go_build.Build.of(os.environ).binary
    folder.mkdir()
    for name in ("etcd", "kubectl", "kube-controller-manager"):
        (folder / name).symlink_to(binary)
    (folder / "kube-apiserver").write_text(f"#!/bin/sh\nBINARY={binary}\n{apiserver}\n")
    (folder / "kube-apiserver").chmod(0o755)
    return {**os.environ, "KUBEBUILDER_ASSETS": str(folder)}


@pytest.mark.skipif(not go_build.Build.of(os.environ).binary.exists(), reason="needs our own build as a base")
def test_a_port_that_was_taken_meanwhile_is_tried_again(tmp_path: Path) -> None:
    """When the API server finds its port in use, the whole start is done again on another."""
    tries = tmp_path / "tries"
    environ = assets(
        tmp_path / "assets",
        f'echo "$@" >> {tries}\n'
        f"[ $(wc -l < {tries}) = 1 ] && echo 'listen tcp: bind: address already in use' && exit 1\n"
        'exec "$BINARY" kube-apiserver "$@"',
    )
    with Cluster.start(tmp_path / "cluster", environ=environ) as cluster:
        ports = [word for line in tries.read_text().splitlines() for word in line.split() if "--secure-port" in word]
        assert len(ports) == len(set(ports)) == 2
        assert cluster.url.endswith(ports[1].removeprefix("--secure-port="))
        assert cluster.has_controller_manager


@pytest.mark.skipif(not go_build.Build.of(os.environ).binary.exists(), reason="needs our own build as a base")
def test_a_process_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    """A failed start says which process died and what it said, and leaves nothing behind."""
    environ = assets(tmp_path / "assets", "echo 'I cannot go on'; exit 3")
    with pytest.raises(ClusterError, match=r"kube-apiserver exited with 3(?s:.*)I cannot go on"):
        Cluster.start(tmp_path / "cluster", environ=environ)
    assert not (tmp_path / "cluster").exists()
    assert not processes_of(tmp_path / "cluster")


def test_no_answer_in_time_is_an_error_that_says_what_was_awaited(tmp_path: Path) -> None:
    """A start that takes too long says what was waited for, and leaves nothing behind."""
    with pytest.raises(ClusterError, match=r"not ready in time; /readyz said"):
        Cluster.start(tmp_path / "cluster", timeout=0)
    assert not (tmp_path / "cluster").exists()


def test_a_deleted_namespace_goes(cluster: Cluster) -> None:
    """The namespace controller empties a namespace and removes it."""
    if not cluster.has_controller_manager:
        pytest.skip("these binaries bring no controller-manager: nobody empties a namespace")
    cluster.kubectl("create", "namespace", "gone")
    cluster.kubectl("create", "--namespace=gone", "--filename=-", input=config_map("inside"))
    cluster.kubectl("delete", "namespace", "gone", "--timeout=60s")
    assert "NotFound" in cluster.kubectl("get", "namespace", "gone", check=False).stderr


def test_an_owned_object_goes_with_its_owner(cluster: Cluster) -> None:
    """The garbage collector follows owner references."""
    if not cluster.has_controller_manager:
        pytest.skip("these binaries bring no controller-manager: nobody collects garbage")
    cluster.kubectl("create", "--filename=-", input=config_map("owner"))
    owner = json.loads(cluster.kubectl("get", "configmap", "owner", "--output=json").stdout)
    owned = json.loads(config_map("owned"))
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    ]
    cluster.kubectl("create", "--filename=-", input=json.dumps(owned))
    cluster.kubectl("delete", "configmap", "owner")
    cluster.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=60s")


def test_a_service_account_logs_in_with_its_token(cluster: Cluster, tmp_path: Path) -> None:
    """TokenRequest works, and a kubeconfig for the token is that ServiceAccount with its rights only."""
    cluster.kubectl("create", "serviceaccount", "robot")
    path = cluster.kubeconfig_for_token(cluster.token_for("default", "robot"), tmp_path / "robot")
    assert path.stat().st_mode & 0o077 == 0
    robot = f"--kubeconfig={path}"
    who = json.loads(cluster.kubectl(robot, "auth", "whoami", "--output=json").stdout)
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    assert "Forbidden" in cluster.kubectl(robot, "get", "secrets", check=False).stderr


def test_a_merge_patch_with_an_old_resource_version_is_a_conflict(cluster: Cluster) -> None:
    """A merge patch that carries metadata.resourceVersion is a compare-and-swap."""
    cluster.kubectl("create", "--filename=-", input=config_map("swapped", value="one"))
    seen = json.loads(cluster.kubectl("get", "configmap", "swapped", "--output=json").stdout)
    patch = {"metadata": {"resourceVersion": seen["metadata"]["resourceVersion"]}, "data": {"value": "two"}}
    command = ("patch", "configmap", "swapped", "--type=merge", f"--patch={json.dumps(patch)}")
    cluster.kubectl(*command)
    patch["data"]["value"] = "three"
    refused = cluster.kubectl(*command[:-1], f"--patch={json.dumps(patch)}", check=False)
    assert "Conflict" in refused.stderr
    value = cluster.kubectl("get", "configmap", "swapped", "--output=jsonpath={.data.value}").stdout
    assert value == "two"


def test_every_request_is_counted_once_it_was_answered(cluster: Cluster) -> None:
    """Right after the answers the audit log holds exactly the requests: user, verb, resource, result."""
    if cluster.audit_log is None:
        pytest.fail("the fixture asks for an audit log")
    cluster.kubectl("create", "namespace", "counted")
    start = audit.position(cluster.audit_log)
    for number in range(5):
        cluster.kubectl("create", "--namespace=counted", "--filename=-", input=config_map(f"c{number}"))
    cluster.kubectl("create", "--namespace=counted", "--filename=-", input=config_map("c0"), check=False)
    cluster.kubectl("delete", "configmap", "c1", "c2", "--namespace=counted", "--wait=false")
    cluster.token_for("counted", "default")
    mine = [event for event in audit.requests(cluster.audit_log, start) if event.user == "admin"]
    writes = Counter(
        (event.verb, event.resource, event.subresource, event.namespace, event.code) for event in mine if event.is_write
    )
    assert writes == {
        ("create", "configmaps", "", "counted", 201): 5,
        ("create", "configmaps", "", "counted", 409): 1,
        ("delete", "configmaps", "", "counted", 200): 2,
        ("create", "serviceaccounts", "token", "counted", 201): 1,
    }
    assert {event.name for event in mine if event.verb == "delete"} == {"c1", "c2"}
    assert all(event.agent.startswith("kubectl") for event in mine)


def test_the_log_has_no_noise(cluster: Cluster) -> None:
    """The API server's talk with itself and discovery are not logged."""
    assert cluster.audit_log is not None
    cluster.kubectl("api-resources")
    events = list(audit.requests(cluster.audit_log))
    assert events
    assert not [event for event in events if event.user == "system:apiserver" or not event.resource]


def test_now_is_never_in_the_middle_of_a_line(tmp_path: Path) -> None:
    """What is read since "now" begins with a whole event, though another one is being written at that moment."""
    line = json.dumps({"user": {"username": "u"}, "verb": "get", "padding": "x" * 100_000}).encode() + b"\n"
    log = tmp_path / "audit.log"
    log.write_bytes(line[:70_000])
    assert audit.position(log) == 0
    log.write_bytes(line + line[:70_000])
    start = audit.position(log)
    assert start == len(line)
    log.write_bytes(line + line)
    assert [event.verb for event in audit.requests(log, start)] == ["get"]


def test_a_half_written_line_is_left_for_the_next_look(tmp_path: Path) -> None:
    """A reader never sees half an event, nor loses one."""
    line = json.dumps({"user": {"username": "u"}, "verb": "get"}).encode() + b"\n"
    log = tmp_path / "audit.log"
    log.write_bytes(line + line[:10])
    assert len(list(audit.requests(log))) == 1
    log.write_bytes(line + line)
    assert len(list(audit.requests(log, len(line)))) == 1


def test_a_lent_cluster_is_used_and_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    """A cluster of somebody else's is used through a kubeconfig of our own; stopping removes only that."""
    environ = {
        **os.environ,
        "OPENSCALE_DEV_KUBECONFIG": str(cluster.kubeconfig),
        "OPENSCALE_DEV_CONTEXTS": "openscale-local",
    }
    environ.pop("KUBEBUILDER_ASSETS", None)
    with Cluster.start(tmp_path / "lent", environ=environ) as lent:
        assert (lent.url, lent.audit_log) == (cluster.url, None)
        lent.kubectl("create", "serviceaccount", "guest")
        path = lent.kubeconfig_for_token(lent.token_for("default", "guest"), tmp_path / "guest")
        who = lent.kubectl(f"--kubeconfig={path}", "auth", "whoami", "--output=json").stdout
        assert json.loads(who)["status"]["userInfo"]["username"] == "system:serviceaccount:default:guest"
        with pytest.raises(ClusterError, match="gives no audit log"):
            Cluster.start(tmp_path / "audited", environ=environ, audit=True)
    assert not (tmp_path / "lent").exists()
    assert cluster.kubectl("get", "serviceaccount", "guest", "--output=name").stdout == "serviceaccount/guest\n"


def test_the_home_folder_is_not_touched(cluster: Cluster, tmp_path: Path) -> None:
    """kubectl keeps its cache in the cluster's folder, and no kubeconfig is written elsewhere."""
    subprocess.run(
        [*cluster.kubectl_argv, "get", "namespaces"],
        env={"HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_can_read_its_keys(cluster: Cluster) -> None:
    """The folder is private, and etcd listens on a socket in it, not on a port."""
    assert cluster.directory.stat().st_mode & 0o077 == 0
    assert (cluster.directory / "etcd.sock").is_socket()


def test_kubectl_that_fails_is_an_error_with_its_words(cluster: Cluster) -> None:
    """What kubectl said is in the message."""
    with pytest.raises(ClusterError, match="nothing-like-this"):
        cluster.kubectl("get", "nothing-like-this")
