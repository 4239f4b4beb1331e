"""Says how etcd, kube-apiserver and kube-controller-manager are started: their flags and files.

All paths are relative: each process runs in the cluster's folder. etcd listens on a socket in
that folder (no port to collide on, and nobody else on the machine can read the Secrets in it);
kube-controller-manager listens on nothing. So a cluster has one port: the API server's.
"""

from collections.abc import Sequence

CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
)
ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIT_LOG = "audit.log"

# What the API server and its clients say to keep themselves alive is left out.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
  - level: None
    users: ["system:apiserver"]
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version*", "/openapi/*", "/api*", "/apis*"]
  - level: None
    users: ["system:kube-controller-manager"]
  - level: Metadata
"""


def etcd(program: Sequence[str], *, fsync: bool) -> list[str]:
    """Give the command of a single etcd member."""
    return [
        *program,
        "--name=local",
        "--data-dir=etcd",
        "--listen-client-urls=unix://etcd.sock",
        "--advertise-client-urls=http://127.0.0.1:0",  # no client looks: etcd refuses a socket here
        "--listen-peer-urls=http://127.0.0.1:0",
        "--log-level=warn",
        *([] if fsync else ["--unsafe-no-fsync"]),
    ]


def apiserver(program: Sequence[str], *, port: int, audit: bool) -> list[str]:
    """Give the command of the API server."""
    command = [
        *program,
        "--etcd-servers=unix://etcd.sock",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # else it refuses to advertise loopback
        f"--secure-port={port}",
        "--tls-cert-file=apiserver.crt",
        "--tls-private-key-file=apiserver.key",
        "--client-ca-file=ca.crt",
        "--service-account-key-file=service-account.key",
        "--service-account-signing-key-file=service-account.key",
        f"--service-account-issuer={ISSUER}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
    ]
    if audit:
        command += [
            "--audit-policy-file=audit-policy.yaml",
            f"--audit-log-path={AUDIT_LOG}",
            "--audit-log-mode=blocking",
            "--audit-log-maxsize=1000000",  # never rotated: counts must not lose a line
        ]
    return command


def controller_manager(program: Sequence[str]) -> list[str]:
    """Give the command of the controllers: each is its own user, as on a production cluster."""
    return [
        *program,
        "--kubeconfig=controller-manager.kubeconfig",
        "--service-account-private-key-file=service-account.key",
        "--root-ca-file=ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
        f"--controllers={','.join(CONTROLLERS)}",
    ]
