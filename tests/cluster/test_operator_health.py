"""The operator's health port, as a kubelet and Prometheus ask it."""


def test_the_operator_says_that_it_lives_and_has_its_lists(scene):
    """`/livez` and `/readyz` are well once it has listed what there is and its watches began; `/metrics` is there."""
    assert scene.operator.health("/livez").status == 200
    scene.until(lambda: scene.operator.health("/readyz").status == 200, "the operator is ready")
    text = scene.operator.health("/metrics").body.decode()
    assert "\nopenscale_byok_build_info{" in text
    assert scene.operator.health("/").status == 404
