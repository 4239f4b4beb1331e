"""The audit's volume: there where a file is asked for, with one writer for each file."""

from typing import Any

import helm_python
import pytest

from stage import chart

FILE = "/var/log/openscale-byok/audit.log"


def values(*, gateway: dict[str, Any] | None = None, **persistence: Any) -> dict[str, Any]:
    """An audit in a file, on a volume of this kind."""
    return {
        "settings": {"auditFile": FILE, "auditChain": True},
        "audit": {"persistence": {"enabled": True, **persistence}},
        "gateway": {"audit": {"persistence": gateway or {}}},
    }


def of(given: dict[str, Any], component: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The pod of a component, its volume for the audit, and where its container mounts that."""
    (deployment,) = (
        one
        for one in chart.render(given)
        if (one["kind"], one["metadata"]["labels"]["app.kubernetes.io/component"]) == ("Deployment", component)
    )
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one["name"] == "audit")
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "audit")
    return pod, volume, mount


def claims(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The claims that the chart makes, by name."""
    return {one["metadata"]["name"]: one for one in chart.render(given) if one["kind"] == "PersistentVolumeClaim"}


def test_each_has_a_claim_that_stays():
    """The operator's is for one node, the gateway's for several; neither goes with the release."""
    found = claims(values(storageClassName="fast", size="2Gi", annotations={"a": "b"}))
    assert set(found) == {"openscale-byok-audit", "openscale-byok-gateway-audit"}
    for name, mode in (("openscale-byok-audit", "ReadWriteOnce"), ("openscale-byok-gateway-audit", "ReadWriteMany")):
        assert found[name]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "a": "b"}
        assert found[name]["spec"] == {
            "accessModes": [mode],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "2Gi"}},
        }
    for component in ("operator", "gateway"):
        pod, volume, mount = of(values(), component)
        assert volume["persistentVolumeClaim"]["claimName"] in found
        assert mount["mountPath"] == "/var/log/openscale-byok"
        assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsNonRoot"]) == (65532, True)
    assert "gateway" not in str(claims(values() | {"gateway": {"enabled": False}}))


def test_no_two_pods_write_one_file():
    """The operator has one pod at a time; each of the gateway's writes below its own name."""
    _, volume, mount = of(values(type="existingClaim", existingClaim="mine"), "operator")
    assert (volume["persistentVolumeClaim"], mount["subPath"]) == ({"claimName": "mine"}, "operator")
    pod, volume, mount = of(values(type="existingClaim", existingClaim="mine"), "gateway")
    assert (volume["persistentVolumeClaim"], mount["subPathExpr"]) == ({"claimName": "mine"}, "gateway/$(POD_NAME)")
    (name,) = (one for one in pod["containers"][0]["env"] if one["name"] == "POD_NAME")
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert claims(values(type="existingClaim", existingClaim="mine")) == {}


def test_a_volume_of_the_pod_needs_no_folder_and_no_group():
    """It is each pod's own, and as large as was said."""
    for component in ("operator", "gateway"):
        pod, volume, mount = of(values(type="emptyDir", size="100Mi"), component)
        assert volume["emptyDir"] == {"sizeLimit": "100Mi"}
        assert mount == {"name": "audit", "mountPath": "/var/log/openscale-byok"}
        assert "fsGroup" not in pod["securityContext"]


def test_the_gateway_may_have_another_volume():
    """What is set for the gateway holds for it alone."""
    given = values(gateway={"type": "emptyDir", "size": "1Mi"}, size="2Gi")
    assert of(given, "gateway")[1]["emptyDir"] == {"sizeLimit": "1Mi"}
    assert of(given, "operator")[1]["persistentVolumeClaim"] == {"claimName": "openscale-byok-audit"}
    assert set(claims(given)) == {"openscale-byok-audit"}


def test_a_group_of_ones_own_stays():
    """A pod's securityContext that names a group, and OpenShift, which has its own, keep theirs."""
    context = {"runAsNonRoot": True, "fsGroup": 7}
    assert of(values() | {"podSecurityContext": context}, "operator")[0]["securityContext"]["fsGroup"] == 7
    assert "fsGroup" not in of(values(fsGroup=0), "operator")[0]["securityContext"]


def test_a_volume_that_somebody_else_mounts_will_do():
    """The file is below a mount of extraVolumeMounts; for the gateway below its own, where it has some."""
    volume = {"extraVolumes": [{"name": "v", "emptyDir": {}}], "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}]}
    assert chart.render({"settings": {"auditFile": "/v/audit"}} | volume)
    other = {"extraVolumeMounts": [{"name": "v", "mountPath": "/other"}]}
    with pytest.raises(helm_python.HelmRenderError, match=r"settings\.auditFile: /v/audit is on no volume"):
        chart.render({"settings": {"auditFile": "/v/audit"}, "gateway": other} | volume)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"settings": {"auditFile": FILE}}, "is on no volume.*set audit.persistence.enabled=true"),
        ({"settings": {"auditFile": "/tmp/audit"}}, "is on no volume"),  # noqa: S108 -- of the pod's memory
        (values() | {"settings": {"auditFile": "/var/log/openscale-byokaudit"}}, "is on no volume"),
        (values() | {"settings": {}}, "audit.persistence.enabled: nothing is written there; set settings.auditFile"),
        (values(type="existingClaim"), "audit.persistence.existingClaim: name the PersistentVolumeClaim"),
        (values(gateway={"accessModes": ["ReadWriteOnce"]}), "accessModes: ReadWriteMany is missing"),
    ],
    ids=["no volume", "memory", "beside it", "no file", "no claim", "one node"],
)
def test_what_would_end_each_container_at_its_start_is_refused(given, sentence):
    """An audit that cannot be written ends operator and gateway: Helm says so before, and what helps."""
    with pytest.raises(helm_python.HelmRenderError, match=sentence):
        chart.render(given)
