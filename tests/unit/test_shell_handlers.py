"""How kopf finds the API server."""

import kopf
import pytest

from openscale_byok.shell.handlers import at_address

INFO = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")


@pytest.mark.parametrize(
    ("environ", "server"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://10.0.0.1:6443"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://10.0.0.1:443"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, "https://[fd00::1]:443"),
        ({}, "https://kubernetes.default.svc"),
    ],
    ids=["IPv4", "no port", "IPv6", "nothing named"],
)
def test_in_a_pod_the_watches_need_no_dns(environ, server):
    """The address that the kubelet names counts: the cluster's DNS may be away while the API server is not."""
    found = at_address(INFO, environ)
    assert found is not None
    assert server == found.server
    assert INFO.token == found.token


def test_outside_of_a_pod_there_is_no_login_by_it():
    """Without a ServiceAccount nothing is made up."""
    assert at_address(None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None
