"""What the operator's owner rules about instances."""

import pytest

from openscale_byok.core.instance_policy import InstancePolicy

ID, OTHER = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("namespaces", "team_a", "team_b", "another_id"),
    [
        ({}, True, True, True),
        ({ID: "team-a"}, True, False, False),
        ({ID: "team-a", "*": "*"}, True, False, True),
        ({ID: "team-a", "*": "team-b"}, True, False, False),
        ({ID: "*"}, True, True, False),
    ],
)
def test_an_id_belongs_where_the_map_says(namespaces, team_a, team_b, another_id):
    """Without a map to anybody; with one, an id that it does not name is nobody's, unless `*` says whose."""
    policy = InstancePolicy(namespaces)
    assert policy.admits(ID, "team-a") is team_a
    assert policy.admits(ID, "team-b") is team_b
    assert policy.admits(OTHER, "team-a") is another_id
