"""The operator's health port, as a kubelet and Prometheus ask it, beside what a real gateway shows."""

import time

from prometheus_client.parser import text_string_to_metric_families

from stage.program import Program
from stage.team import Team


def test_the_operator_says_that_it_lives_and_has_its_lists(scene):
    """`/livez` and `/readyz` are well once it has listed what there is and its watches began."""
    assert scene.operator.health("/livez").status == 200
    scene.until(lambda: scene.operator.health("/readyz").status == 200, "the operator is ready")
    assert scene.operator.health("/").status == 404


def shown(program: Program, name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric that carry these labels, by the values of the others in the order of their names."""
    text = program.health("/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label not in labels): sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def test_metrics_follow_a_team_from_its_first_password_to_its_end(team: Team) -> None:
    """Secrets by state, the root key and its looks, the data key in memory; a no of the root key shows at once in both
    programs, and whatever named an object goes with it."""
    operator = team.scene.operator
    (crn,) = team.root_keys()
    team.instance()
    team.marts("m1", "m2", "m3")
    team.bind("eu", crn)
    team.until_protected(crn)
    team.until_ready("prod", kind="OpenScaleInstance")
    of_instance = {"namespace": team.namespace, "openscale_instance": "prod"}
    of_binding = {"namespace": team.namespace, "binding": "eu"}
    secrets = {("current",): 3.0, ("stale",): 0.0, ("stuck",): 0.0, ("unsealed",): 0.0}
    team.until(lambda: shown(operator, "openscale_byok_secrets", **of_instance) == secrets, "all are counted")
    assert shown(operator, "openscale_byok_root_key_usable", **of_binding) == {("True",): 1.0}
    assert shown(operator, "openscale_byok_root_key_state", **of_binding) == {("prod", "InForce", "Active"): 1.0}
    for age in ("look", "answer"):
        (at,) = shown(operator, f"openscale_byok_root_key_last_{age}_timestamp_seconds", **of_binding).values()
        assert -1 < time.time() - at < 30
    assert shown(operator, "openscale_byok_data_keys_held", **of_binding) == {(): 1.0}
    (until,) = shown(operator, "openscale_byok_data_keys_open_until_timestamp_seconds", **of_binding).values()
    assert 3_000 < until - time.time() <= 3_601
    with team.scene.gateway() as gateway:
        team.scene.emulator.disable(crn)
        for program in (operator, gateway):
            usable = lambda p=program: shown(p, "openscale_byok_root_key_usable", **of_binding)  # noqa: E731
            team.until(lambda find=usable: find() == {("False",): 1.0}, "the no is shown")
            assert shown(program, "openscale_byok_data_keys_held", **of_binding) == {(): 0.0}
        assert "openscale_byok_secrets" not in gateway.health("/metrics").body.decode()
    disabled = {("Stalled", "RootKeyBinding", "eu", "KeyDisabled", "True"): 1.0}
    name = "openscale_byok_resource_condition"
    team.until(lambda: disabled.items() <= shown(operator, name, namespace=team.namespace).items(), "it is stalled")
    (calls,) = shown(operator, "openscale_byok_ibm_requests_total", operation="wrap", outcome="success").values()
    assert calls >= 1
    team.scene.emulator.advance(31)
    team.scene.emulator.enable(crn)
    for mart in ("m1", "m2", "m3"):
        team.delete("DataMart", mart)
    team.delete("RootKeyBinding", "eu")
    team.until_gone("RootKeyBinding", "eu")
    team.delete("OpenScaleInstance", "prod")
    team.until_gone("OpenScaleInstance", "prod")
    team.until(lambda: team.namespace not in operator.health("/metrics").body.decode(), "nothing names it any more")
