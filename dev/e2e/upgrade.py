"""From 0.1.0, with what it had sealed, to this version."""

import base64
import json

from e2e import first_day
from e2e.cluster import claim, helm, until
from e2e.images import FORMER
from e2e.pods import RELEASE
from e2e.scene import VALUES, Scene

_LATER = {"insecureHttp"}
"""Settings that 0.1.0 did not have."""


def former(scene: Scene) -> str:
    """0.1.0 is installed as it was, and seals: what it leaves is what the next step finds."""
    (chart,) = FORMER.glob("*.tgz")
    settings = {name: setting for name, setting in VALUES["settings"].items() if name not in _LATER}
    values = {**VALUES, "image": {"pullPolicy": "Never", "tag": "0.1.0"}, "settings": settings}
    arguments = ("--namespace", RELEASE, "--values", "-", "--wait", "--timeout", "180s")
    helm("install", RELEASE, str(chart), *arguments, text=json.dumps(values))
    first_day.seal(scene)
    first_day.bind(scene)
    claim(_format(scene.envelope()) == "openscale-byok.v1", "it seals as 0.1.0 did")
    return "a data mart is sealed by 0.1.0, under a customer's root key, in its format"


def upgrade(scene: Scene) -> str:
    """To this version as docs/upgrade.md says: all that 0.1.0 left opens, and is sealed in the present format."""
    scene.definitions("--take-ownership", "--set", "takeOwnership=true")
    scene.helm("upgrade")
    until("everything is under the root key", lambda: scene.protected(scene.root_key))
    took = until("it is sealed as v2", lambda: _format(scene.envelope()) == "openscale-byok.v2")
    return f"in the present format {took:.1f} s after the upgrade, from the envelope alone: its Secret is gone"


def _format(envelope: str) -> str:
    """What an envelope says of its own format, in its protected header."""
    head = envelope.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["typ"])


STEPS = (former, upgrade)
