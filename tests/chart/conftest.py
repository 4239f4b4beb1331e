"""What the tests of the chart share: values for every switch."""

from typing import Any

import pytest

DUAL = {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}
SIDECAR = {"name": "beside", "image": "example.com/beside:1", "volumeMounts": [{"name": "more", "mountPath": "/more"}]}
EVERYTHING: dict[str, Any] = {
    "fullnameOverride": "byok",
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "commonLabels": {"example.com/team": "true", "app.kubernetes.io/name": "another"},
    "commonAnnotations": {"example.com/owner": "1", "a": "another"},
    "serviceAccount": {"name": "byok-operator", "annotations": {"a": "b"}},
    "secretAccess": {"namespaces": ["team-a", "team-b"]},
    "trustedProfiles": {"enabled": True, "serviceAccounts": ["kp"]},
    "settings": {
        "globalKeySecret": "the-key",
        "insecureHttp": True,
        "iamUrl": "http://iam.example.com",
        "keyProtectUrl": "https://private.example.com",
        "proxy": {"url": "http://proxy:3128", "noProxy": ["*.example.com", "kp"], "secretName": "of-the-proxy"},
        "caBundle": {"configMapName": "authorities", "key": "bundle.pem"},
        "allowedEndpoints": ["https://kp.example.com"],
        "allowedRootKeys": {"team-a": ["crn:v1:<&>"], "*": []},
        "allowedInstances": {"0a1b2c3d-0000-4000-8000-000000000001": "team-a", "*": "*"},
        "minimumRetentionDays": 7,
        "keyPollSeconds": 0.5,
        "sourceRefreshSeconds": 86400,
        "writesInFlight": 256,
        "instancesAtOnce": 1,
        "auditFile": "/var/audit/below/lines",
        "auditChain": True,
        "logLevel": "debug",
        "logFormat": "text",
    },
    "audit": {
        "persistence": {"enabled": True, "mountPath": "/var/audit/", "type": "existingClaim", "existingClaim": "c"}
    },
    "crds": {"enabled": True, "takeOwnership": True, "check": False},
    "admissionPolicies": {
        "bind": {"controllers": ["system:kube-controller-manager"]},
        "status": {"restoreUsers": ["system:serviceaccount:velero:velero", 'it\'s:"<me>"&\\']},
    },
    "gateway": {
        "replicas": 3,
        "serviceAccount": {"name": "byok-gateway", "annotations": {"a": "b"}},
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}, **DUAL},
        "tls": {"secretName": "a-certificate"},
        "authority": "the-authority",
        "names": ["byok.example.com", "10.0.0.1"],
        "address": "::",
        "port": 9443,
        "healthPort": 9081,
        "audiences": ["one", "https://two"],
        "requestsPerSecond": 0.5,
        "burst": 100000,
        "connections": 65536,
        "waits": 0,
        "waitsOfOneCaller": 65536,
        "podDisruptionBudget": {"minAvailable": "50%"},
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 1, "topologyKey": "t", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}},
        ],
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}],
            "metricsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
    },
    "health": {"address": "::", "port": 9082},
    "metrics": {"service": {"annotations": {"a": "b"}}},
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}],
        "egress": {
            "apiServer": {"ports": [8443], "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            "dns": {"ports": [53], "to": [{"namespaceSelector": {}}]},
            "keyProtect": {"ports": [3128], "to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
            "more": [{"ports": [{"port": 1}], "to": [{"podSelector": {}}]}],
        },
    },
    "extraEnv": [
        {"name": "TZ", "value": "UTC"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "podAnnotations": {"example.com/a": "1"},
    "podLabels": {"example.com/l": "1", "app.kubernetes.io/name": "another"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
    "extraContainers": [SIDECAR],
    "extraInitContainers": [SIDECAR | {"name": "before", "securityContext": {"runAsUser": 1}}],
    "deploymentAnnotations": {"example.com/d": "1"},
    "revisionHistoryLimit": 0,
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["kp.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.2"]},
    "runtimeClassName": "gvisor",
    "hostUsers": False,
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "more", "namespace": "{{ .Release.Namespace }}"},
        },
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: '{{ include \"openscale-byok.fullname\" . }}-more'\n",
    ],
}
OF_THE_GATEWAY: dict[str, Any] = {
    "extraVolumes": [{"name": "its", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "its", "mountPath": "/its"}],
    "extraContainers": [{"name": "its", "image": "example.com/its:1"}],
    "extraInitContainers": [{"name": "its-first", "image": "example.com/its:1"}],
    "podAnnotations": {"example.com/its": "2"},
    "podLabels": {"example.com/its": "2"},
    "deploymentAnnotations": {"example.com/its": "2"},
    "nodeSelector": {"example.com/its": "2"},
    "tolerations": [{"key": "its", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "its",
}
"""In place of what is for both pods."""
AUDITED = {"auditFile": "/var/log/openscale-byok/audit.log"}
SWITCHES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "with CRDs": {"crds": {"enabled": True}},
    "CRDs not kept": {"crds": {"enabled": True, "keep": False}},
    "no ServiceAccount": {"serviceAccount": {"create": False}},
    "no rights": {"rbac": {"create": False}},
    "Secrets everywhere": {"secretAccess": {"clusterWide": True}, "trustedProfiles": {"enabled": True}},
    "no user roles": {
        "userRoles": dict.fromkeys(("aggregateToView", "aggregateToEdit", "aggregateToAdmin", "create"), False)
    },
    "no gateway": {"gateway": {"enabled": False}},
    "no policies": {"admissionPolicies": {"bind": {"enabled": False}, "status": {"enabled": False}}},
    "one gateway for everybody": {"gateway": {"replicas": 1, "networkPolicy": {"enabled": True}}},
    "authorities in a Secret": {"settings": {"caBundle": {"secretName": "authorities"}}},
    "two namespaces": {"scope": {"namespaces": ["ns", "b"]}, "secretAccess": {"namespaces": ["b"]}},
    "no objects of the cluster": {
        "scope": {"namespaces": ["a"], "clusterObjects": False},
        "gateway": {"enabled": False},
        "crds": {"enabled": False},
    },
    "network policies": {"networkPolicy": {"enabled": True}, "gateway": {"networkPolicy": {"enabled": True}}},
    "no limit on what both call": {"networkPolicy": {"enabled": True, "egress": {"enabled": False}}},
    "no kinds for edit": {"userRoles": {"editKinds": []}},
    "no nodeSelector": {"nodeSelector": None},
    "audit on claims": {"audit": {"persistence": {"enabled": True}}, "settings": AUDITED},
    "audit in each pod": {"audit": {"persistence": {"enabled": True, "type": "emptyDir"}}, "settings": AUDITED},
    "of the gateway alone": {"gateway": OF_THE_GATEWAY},
    "no spread, no budget": {"gateway": {"topologySpreadConstraints": [], "podDisruptionBudget": {"enabled": False}}},
}


@pytest.fixture(params=list(SWITCHES))
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One after the other: the default, and each switch."""
    return SWITCHES[request.param]


@pytest.fixture
def everything() -> dict[str, Any]:
    """Each value set to something else than its default."""
    return EVERYTHING


@pytest.fixture
def of_the_gateway() -> dict[str, Any]:
    """What holds for the gateway's pods in place of what is for both."""
    return OF_THE_GATEWAY
