"""The tables of rights in the chart's README: each rule as Helm renders it, with its reason from here.

A rule without a reason stops the build, and so does a reason that no rule needs any more.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stage import chart

_GROUP = "openscale.byok.dev"
_CRN = "crn:v1:bluemix:public:kms:us-south:a/{0}:{1}:key:{1}".format("0" * 32, "0" * 8 + "-0000" * 3 + "-" + "0" * 12)
_TEAM = "team-a"
_EVERY_RULE: Mapping[str, Any] = {
    "secretAccess": {"namespaces": [_TEAM]},
    "trustedProfiles": {"enabled": True},
    "settings": {"globalRootKey": _CRN},
}
_ACCOUNTS = {"operator": chart.NAME, "gateway": f"{chart.NAME}-gateway"}
_NAMES = {
    "openscale-byok-global-key": "settings.globalKeySecret",
    "openscale-byok-global-root-key": "settings.globalRootKeySecret",
    "openscale-byok-gateway-ca": "gateway.authority",
}
"""The value that each name of the default comes from."""

CLUSTER, OWN, GRANTED = "cluster", "its own namespace", "each of `secretAccess.namespaces`"

Key = tuple[str, str, str, str]
"""Component, where, resources, verbs."""


@dataclass(frozen=True, slots=True)
class Why:
    """A reason, and the value without which there is no such rule."""

    text: str
    when: str = ""


_ROOT_KEY = Why("the API key for the root key that is the global key", "with `settings.globalRootKey`, or its former")
_PROFILES = Why("tokens for the audience `iam`: trusted profiles", "with `trustedProfiles.enabled`")
_NO_CERTIFICATE = "without `gateway.tls.secretName`"
_GLOBAL_KEY = Why("the global key: what it protects is opened with it")

WHYS: dict[Key, Why] = {
    ("operator", CLUSTER, "`openscaleinstances`", "get, list, patch, watch"): Why(
        "read; `patch` gives and takes the operator's finalizer"
    ),
    ("operator", CLUSTER, "`rootkeybindings`", "list, patch, watch"): Why(
        "read; `patch` gives and takes the operator's finalizer"
    ),
    ("operator", CLUSTER, "`datamarts`", "list, patch, watch"): Why(
        "read; `patch` gives and takes the operator's finalizer while a hand-over Secret is deleted"
    ),
    (
        "operator", CLUSTER, "`datamarts/status`, `openscaleinstances/status`, `rootkeybindings/status`", "patch",
    ): Why("data keys, sealed passwords, conditions"),
    ("operator", CLUSTER, "`events` (events.k8s.io)", "create"): Why("say what happened"),
    ("operator", OWN, "`secrets`, only `settings.globalKeySecret`", "get"): _GLOBAL_KEY,
    ("operator", OWN, "`secrets`, only `settings.globalRootKeySecret`", "get"): _ROOT_KEY,
    ("operator", OWN, "`secrets`", "create"): Why(
        "the global key, on the first start; RBAC cannot tie `create` to a name, the policy `accounts` does"
    ),
    ("operator", GRANTED, "`secrets`", "delete, get"): Why(
        "passwords and API keys, by name; `delete`, what was handed over: the policy `accounts` allows no other"
    ),
    ("operator", GRANTED, "`serviceaccounts/token`", "create"): _PROFILES,
    ("gateway", CLUSTER, "`openscaleinstances`", "bind, get, list, watch"): Why(
        "read; `bind`, as the policy on bindings asks about the gateway, as about everybody"
    ),
    ("gateway", CLUSTER, "`rootkeybindings`", "create, delete, list, watch"): Why(
        "read; bind a root key for a caller, and let it go"
    ),
    ("gateway", CLUSTER, "`datamarts`", "create, delete, get, list, patch, watch"): Why(
        "read; data marts of OpenScale's API"
    ),
    ("gateway", CLUSTER, "`datamarts/status`", "patch"): Why("passwords that a request gave"),
    ("gateway", CLUSTER, "`tokenreviews` (authentication.k8s.io)", "create"): Why("who asks"),
    ("gateway", CLUSTER, "`subjectaccessreviews` (authorization.k8s.io)", "create"): Why(
        "whether they may: each caller needs the same rights themselves"
    ),
    ("gateway", CLUSTER, "`/openid/v1/jwks`", "get"): Why(
        "public keys: whose token it is shows before anybody is asked, so that strangers' tokens wait apart"
    ),
    ("gateway", OWN, "`secrets`, only `settings.globalKeySecret`", "get"): _GLOBAL_KEY,
    ("gateway", OWN, "`secrets`, only `settings.globalRootKeySecret`", "get"): _ROOT_KEY,
    ("gateway", OWN, "`configmaps`, `secrets`, only `gateway.authority`", "get, patch"): Why(
        "the authority of its own serving certificate, and its certificate for everybody", _NO_CERTIFICATE
    ),
    ("gateway", OWN, "`configmaps`, `secrets`", "create"): Why(
        "to make them; RBAC cannot tie `create` to a name, the policy `accounts` does", _NO_CERTIFICATE
    ),
    ("gateway", GRANTED, "`secrets`", "get"): Why("API keys of bindings, by name"),
    ("gateway", GRANTED, "`serviceaccounts/token`", "create"): _PROFILES,
}  # fmt: skip


def complete(readme: str, whys: Mapping[Key, Why] | None = None) -> str:
    """The chart's README with both tables as the chart is now, and the reason of each rule.

    Raises:
        ValueError: a rule has no reason, a reason has no rule, or the README has no place for a table.
    """
    rules = {component: list(_rules(account, component)) for component, account in _ACCOUNTS.items()}
    keys = {key for found in rules.values() for key in found}
    whys = WHYS if whys is None else whys
    if keys != set(whys):
        raise ValueError(
            f"rules without a reason: {sorted(keys - set(whys))}; without a rule: {sorted(set(whys) - keys)}"
        )
    for component, found in rules.items():
        begin, end = f"<!-- generated: rights of the {component} -->", "<!-- end -->"
        parts = re.fullmatch(f"(.*{begin}\n).*?({end}.*)", readme, re.DOTALL)
        if parts is None:
            raise ValueError(f"the chart's README has no {begin}")
        readme = parts[1] + "\n".join(
            ("| where | resource | verbs | why |", "|---|---|---|---|", *(_row(key, whys[key]) for key in found), "")
        )
        readme += parts[2]
    return readme


def _row(key: Key, why: Why) -> str:
    _, where, resources, verbs = key
    return f"| {where}{f', {why.when}' if why.when else ''} | {resources} | {verbs} | {why.text} |"


def _rules(account: str, component: str) -> Iterator[Key]:
    """Each rule that an account is bound to, in the order of the chart."""
    found = chart.rights(_EVERY_RULE)
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in found}
    for binding in (one for one in found if one["kind"].endswith("Binding")):
        namespace, role = binding["metadata"].get("namespace"), binding["roleRef"]
        if [subject["name"] for subject in binding["subjects"]] != [account]:
            continue
        where = {None: CLUSTER, chart.NAME: OWN, _TEAM: GRANTED}[namespace]
        for rule in roles[role["kind"], namespace if role["kind"] == "Role" else None, role["name"]]["rules"]:
            yield component, where, _resources(rule), ", ".join(rule["verbs"])


def _resources(rule: Mapping[str, Any]) -> str:
    groups = [group for group in rule.get("apiGroups", ()) if group not in ("", _GROUP)]
    shown = ", ".join(f"`{name}`" for name in (*rule.get("resources", ()), *rule.get("nonResourceURLs", ())))
    names = ", ".join(f"`{_NAMES[name]}`" for name in rule.get("resourceNames", ()))
    return shown + (f" ({', '.join(groups)})" if groups else "") + (f", only {names}" if names else "")
