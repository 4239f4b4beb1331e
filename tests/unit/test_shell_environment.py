"""Variables with our prefix: whatever nobody reads is refused, with the name that was meant."""

import pytest

from openscale_byok.shell.cli.variables import variables
from openscale_byok.shell.environment import unknown

NONE = "there is no such setting"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OPENSCALE_BYOK_KEY_POLL_SECOND", f"{NONE}; did you mean OPENSCALE_BYOK_KEY_POLL_SECONDS?"),
        ("OPENSCALE_BYOK_GATEWAY_CONECTIONS", f"{NONE}; did you mean OPENSCALE_BYOK_GATEWAY_CONNECTIONS?"),
        ("OPENSCALE_BYOK_AGENT_TARGET", f"{NONE}; did you mean OPENSCALE_BYOK_AGENT_TARGETS?"),
        ("openscale_byok_loglevel", f"{NONE}; did you mean OPENSCALE_BYOK_LOG_LEVEL?"),
        ("OPENSCALE_BYOK_SOMETHING_ELSE", NONE),
        ("OPENSCALE_BYOK_", NONE),
        ("OPENSCALE_BYOK_METRICS_PORT", NONE),
        ("OPENSCALE_BYOK_KEY_POLL_SECONDS", ""),
        ("openscale_byok_key_poll_seconds", ""),
        ("OPENSCALE_DEV_KUBECONFIG", ""),
        ("KUBECONFIG", ""),
    ],
)
def test_a_name_that_is_none_of_ours_is_told_with_the_one_that_was_meant(name: str, said: str) -> None:
    """Never its value; and what has another prefix is nobody's business."""
    assert unknown([name], variables()) == ({name: said} if said else {})


SERVICE = "OPENSCALE_BYOK_METRICS"


@pytest.mark.parametrize("end", ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "PORT", "PORT_8443_TCP_ADDR"])
def test_what_kubernetes_sets_for_a_service_is_left_alone(end: str) -> None:
    """A pod in our own namespace has a handful of them for each Service that is named as we are."""
    assert unknown([f"{SERVICE}_SERVICE_HOST", f"{SERVICE}_{end}"], variables()) == {}
    assert unknown([f"{SERVICE}_SERVICE_HOST", f"{SERVICE}_X{end}"], variables()).keys() == {f"{SERVICE}_X{end}"}


def test_every_program_knows_the_variables_of_all() -> None:
    """One environment may serve an agent beside a gateway: neither refuses what is the other's."""
    assert {"OPENSCALE_BYOK_NAMESPACE", "OPENSCALE_BYOK_GATEWAY_PORT", "OPENSCALE_BYOK_AGENT_URL"} <= variables()
