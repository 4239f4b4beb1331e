"""Says how a node's programs are started: their flags and files. Pure; paths are relative to the node's folder."""

import json
from pathlib import Path
from typing import Any

from local_node.isolation import ADDRESS, PODS

PORT = 6443
NAME = "node"
CONTAINERD = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"
"""The image that holds a pod's namespaces. A full name: containerd would look up a short one elsewhere."""
CLIENT = "kube-apiserver-kubelet"
"""The API server, as the kubelet knows it."""


def apiserver(command: list[str]) -> list[str]:
    """The local cluster's API server, with what a node needs besides."""
    replaced = ("--bind-address", "--advertise-address", "--endpoint-reconciler-type", "--authorization-mode")
    return [
        *(flag for flag in command if not flag.startswith(replaced)),
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={CLIENT}.crt",
        f"--kubelet-client-key={CLIENT}.key",
        "--kubelet-certificate-authority=ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged",
    ]


def controller_manager(command: list[str]) -> list[str]:
    """Every controller, where the local cluster runs a few."""
    return [flag for flag in command if not flag.startswith("--controllers")]


def scheduler(program: str) -> list[str]:
    """The command of the scheduler."""
    return [program, "kube-scheduler", "--kubeconfig=scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0"]


def kubelet(program: str, folder: Path) -> list[str]:
    """The command of the kubelet."""
    return [
        program,
        "kubelet",
        f"--config={folder}/kubelet.json",
        f"--kubeconfig={folder}/node.kubeconfig",
        f"--root-dir={folder}/kubelet",
        f"--node-ip={ADDRESS}",
        f"--hostname-override={NAME}",
        f"--cert-dir={folder}",
    ]


def dns(program: str) -> list[str]:
    """The command of CoreDNS. It runs beside the pods, not in one: there is no image of it."""
    return [program, "coredns", "-conf=Corefile"]


def files(folder: Path, group: str, *, unified: bool) -> dict[str, str]:
    """The files that the programs read, by name."""
    return {
        "containerd.toml": _containerd(folder),
        "cni/10-node.conflist": _json(_network(folder)),
        "resolv.conf": "",
        "Corefile": _names(folder),
        "kubelet.json": _json(_kubelet(folder, group, unified=unified)),
        "proxy.json": _json(_proxy(folder)),
    }


def _containerd(folder: Path) -> str:
    return f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true # without CAP_SYS_RESOURCE no sandbox would start
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"""


def _names(folder: Path) -> str:
    """Services and pods have names; nothing else has: there is nobody else in this network."""
    return f""".:53 {{
    errors
    kubernetes cluster.local {{
        kubeconfig {folder}/dns.kubeconfig
    }}
}}
"""


def _network(folder: Path) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{folder}/addresses",
    }
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {
        "cniVersion": "1.0.0",
        "name": "node",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _kubelet(folder: Path, group: str, *, unified: bool) -> dict[str, Any]:
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": ADDRESS,
        "healthzPort": 0,
        "readOnlyPort": 0,
        "tlsCertFile": f"{folder}/kubelet.crt",
        "tlsPrivateKeyFile": f"{folder}/kubelet.key",
        "authentication": {
            "x509": {"clientCAFile": f"{folder}/ca.crt"},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group,
        "failCgroupV1": unified,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "resolvConf": f"{folder}/resolv.conf",
        # This machine's disk is nobody's business here, and its images are all that there are.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{folder}/pods",
    }


def _proxy(folder: Path) -> dict[str, Any]:
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{folder}/proxy.kubeconfig"},
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1)
