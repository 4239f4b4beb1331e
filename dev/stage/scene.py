"""Cluster, emulator, PostgreSQL and operator together, with what one needs to tell a story about them."""

import base64
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from key_protect_emulator.control import Emulator
from local_cluster import Cluster, audit
from stage import api as direct
from stage import chart, manifests
from stage.api import Api
from stage.gateway_process import Gateway
from stage.operator_process import Operator
from stage.postgres import PostgreSQL
from stage.postgres import run as run_postgres
from stage.proof import Opener

NAMESPACE = "openscale-byok"
GLOBAL_KEY_SECRET = "openscale-byok-global-key"
GATEWAY_AUTHORITY = "openscale-byok-gateway-ca"
AUDIT_LOG = "audit.log"
"""The operator's audit, in the scene's folder."""
ROOT = Path(__file__).parents[2]
POLICY_SECONDS = 30.0
Say = Callable[[str], None]
OPERATOR_ACCOUNT, GATEWAY_ACCOUNT = "openscale-byok", "openscale-byok-gateway"
"""ServiceAccounts in NAMESPACE, as the chart names them."""


@dataclass(slots=True)
class Tally:
    """Exact counts of what a step cost: calls to Key Protect, and our programs' requests to the API server."""

    key_protect: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    """Gets and lists; a watch is none."""

    @property
    def written(self) -> int:
        """All API writes."""
        return sum(self.writes.values())


@dataclass
class Scene:
    """Everything that runs."""

    cluster: Cluster
    emulator: Emulator
    operator: Operator
    folder: Path
    postgres: PostgreSQL | None
    operator_user: str
    api: Api
    gateway_kubeconfig: Path
    """With the rights that the chart gives to the gateway."""
    settings: Mapping[str, str]
    """Of the operator; the gateway shares them."""

    # Gateways -----------------------------------------------------------------------------------------

    @contextmanager
    def gateway(self, name: str = "gateway", *, detached: bool = False, **settings: str) -> Iterator[Gateway]:
        """A replica of the gateway, under the rights that the chart renders, for as long as the block lasts."""
        made = Gateway(
            self.gateway_kubeconfig,
            self.folder / f"{name}.log",
            {**self.settings, "AUDIT_FILE": str(self.folder / f"{name}.audit"), **settings},
            self.gateway_authority,
            detached=detached,
        )
        try:
            yield made.start()
        finally:
            if made.stop() == -9:
                raise RuntimeError(f"{name} did not end by itself")

    def gateway_authority(self) -> str:
        """The PEM certificates that the gateway's authority publishes."""
        return str(self.api.get("ConfigMap", NAMESPACE, GATEWAY_AUTHORITY)["data"]["ca.crt"])

    # kubectl ------------------------------------------------------------------------------------------

    def kubectl(self, *args: str, given: str | None = None) -> str:
        """Run kubectl as the cluster's admin; its output."""
        return self.cluster.kubectl(*args, input=given).stdout

    def apply(self, *objects: manifests.Object) -> None:
        """`kubectl apply`."""
        self.kubectl("apply", "-f", "-", given=manifests.as_text(objects))

    def create(self, *objects: manifests.Object) -> None:
        """`kubectl create`: no last-applied annotation, so a password is not copied into one."""
        self.kubectl("create", "-f", "-", given=manifests.as_text(objects))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object, or {} where it does not exist."""
        found = self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else {}

    def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of a kind in a namespace."""
        return list(json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json"))["items"])

    def namespace(self, name: str) -> str:
        """Create a namespace whose Secrets the operator may read."""
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    # Waiting and counting -----------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it does not; the text says what was waited for.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s in vain until {what}")
            time.sleep(0.1)

    @contextmanager
    def counted(self) -> Iterator[Tally]:
        """Count what happens inside: exact once the block has ended."""
        tally, calls = Tally(), Counter(self.emulator.counts())
        log = self.cluster.audit_log
        since = audit.position(log) if log is not None else 0
        yield tally
        tally.key_protect.update(Counter(self.emulator.counts()) - calls)
        for event in audit.requests(log, since) if log is not None else ():
            if event.user in (self.operator_user, f"system:serviceaccount:{NAMESPACE}:{GATEWAY_ACCOUNT}"):
                tally.writes[event.target] += event.is_write
                tally.reads[event.target] += event.is_read
        tally.writes, tally.reads = +tally.writes, +tally.reads

    # Keys ---------------------------------------------------------------------------------------------

    def api_key(self, *root_keys: str) -> str:
        """An API key of a new service ID that may read and use these root keys (or all, where none is named)."""
        service_id = self.emulator.create_service_id()
        for crn in root_keys or (None,):
            key = crn.rsplit(":", 1)[1] if crn is not None else None
            self.emulator.grant(service_id, self.emulator.instance, key=key)
        return self.emulator.create_api_key(service_id)

    def opener(self) -> Opener:
        """Opens envelopes independently of the operator, with the root keys' owner's own rights."""
        secret = self.api.get("Secret", NAMESPACE, GLOBAL_KEY_SECRET)
        values = {name: base64.b64decode(value) for name, value in secret.get("data", {}).items()}
        return Opener(self.emulator.url, self.emulator.token(), values)


@contextmanager
def raise_scene(
    say: Say = lambda _: None,
    *,
    folder: Path | None = None,
    postgres: bool = True,
    audited: bool = True,
    settings: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    cluster: Cluster | None = None,
    emulator: Emulator | None = None,
) -> Iterator[Scene]:
    """Start everything; end everything with the block. Nothing is left behind, not even after a kill.

    Args:
        say: is told what is being done.
        folder: for logs and kubeconfigs; a temporary one where none is named.
        postgres: whether a PostgreSQL is wanted.
        audited: whether API writes are to be counted.
        settings: of the operator, besides the endpoints.
        values: of the chart, whose rights operator and gateway get, and whose policies are in force.
        cluster: one that runs already and serves our kinds; it goes on afterwards.
        emulator: one that runs already, with root keys that another scene uses too; it goes on afterwards.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openscale-stage-")))
        if cluster is None:
            say("starting a Kubernetes API server (etcd, kube-apiserver, kube-controller-manager)")
            cluster = stack.enter_context(Cluster.start(audit=audited, say=say))
            say("applying the CRDs")
            cluster.kubectl("apply", "-k", str(ROOT / "crds"))
            cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        if emulator is None:
            say("starting Key Protect and IAM (the emulator)")
            emulator = stack.enter_context(Emulator.start(folder / "key-protect.json"))
        database = None
        if postgres:
            say("starting PostgreSQL")
            database = stack.enter_context(run_postgres())
        say("applying the rights and admission policies that the chart renders")
        accounts = install_rights(cluster, folder, values or {})
        say("starting the operator")
        named = {"IAM_URL": emulator.iam_url, "KEY_PROTECT_URL": emulator.url, "NAMESPACE": NAMESPACE}
        named["AUDIT_FILE"] = str(folder / AUDIT_LOG)
        settings = named | dict(settings or {})
        operator = Operator(accounts.operator, folder / "operator.log", settings)
        stack.callback(operator.kill)
        stack.callback(operator.stop)
        operator.start()
        user = f"system:serviceaccount:{NAMESPACE}:{OPERATOR_ACCOUNT}"
        api = stack.enter_context(direct.connect(cluster, folder))
        yield Scene(cluster, emulator, operator, folder, database, user, api, accounts.gateway, settings)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Kubeconfigs with the tokens of the chart's ServiceAccounts."""

    operator: Path
    gateway: Path


def install_rights(cluster: Cluster, folder: Path, values: Mapping[str, Any]) -> Accounts:
    """Give the chart's ServiceAccounts exactly the rights that it renders, and put its policies in force.

    Raises:
        TimeoutError: the policies do not come into force.
    """
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", input=manifests.as_text([own]))
    merged = {"secretAccess": {"clusterWide": True}, "admissionPolicies": policies()} | dict(values)
    objects = chart.rights(merged, namespace=NAMESPACE) + chart.policies(merged, namespace=NAMESPACE)
    for document in objects:
        if not document["kind"].startswith(("Cluster", *chart.POLICIES)):
            document["metadata"].setdefault("namespace", NAMESPACE)  # as Helm does, where a template names none
    cluster.kubectl("apply", "-f", "-", input=manifests.as_text(objects))
    _await_policies(cluster, (merged.get("scope", {}).get("namespaces") or [NAMESPACE])[0])

    def kubeconfig(account: str, name: str) -> Path:
        token = cluster.token_for(NAMESPACE, account, seconds=86_400)
        return cluster.kubeconfig_for_token(token, folder / f"{name}.kubeconfig")

    return Accounts(kubeconfig(OPERATOR_ACCOUNT, "operator"), kubeconfig(GATEWAY_ACCOUNT, "gateway"))


def policies(*restorers: str) -> dict[str, Any]:
    """The chart's value `admissionPolicies`, with more users who may write statuses."""
    return {"status": {"restoreUsers": [direct.RESTORER, *restorers]}}


def _await_policies(cluster: Cluster, namespace: str) -> None:
    """An API server hears of a policy some moments later: wait until it refuses a status to the admin there.

    All policies are there then, for that one was created last.
    """
    probe = manifests.datamart(namespace, "is-the-policy-in-force", "none", "none")
    cluster.kubectl("apply", "-f", "-", input=manifests.as_text([probe]))
    patch = ("patch", "datamart", probe["metadata"]["name"], "-n", namespace, "--subresource=status")
    deadline = time.monotonic() + POLICY_SECONDS
    while "may not write the status" not in cluster.kubectl(*patch, "--type=merge", "-p", "{}", check=False).stderr:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the chart's admission policies are not in force after {POLICY_SECONDS:.0f} s")
    cluster.kubectl("delete", "datamart", probe["metadata"]["name"], "-n", namespace)
