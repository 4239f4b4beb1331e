"""What IBM's OpenScale SDK asks before anything else: answered with what is true here, and no more."""

from collections import defaultdict
from functools import lru_cache
from time import monotonic

from aiohttp import web

from openscale_byok.core.caller import Access
from openscale_byok.engine.context import log
from openscale_byok.engine.world import World
from openscale_byok.shell.gateway.parts import INSTANCES, parts_of

HEARTBEATS = frozenset({"/v2/fairness/heartbeat", "/openscale/v2/fairness/heartbeat"})
"""Asked without a token."""
MOST_QUESTIONS = 256
"""Rights that one request has asked for. Who may list instances everywhere, or in a namespace, needs one for all."""

COST_OF_MANY_QUESTIONS = 10
"""In requests: always the same, as the number of instances is nobody's business."""


def routes(prefix: str) -> list[web.RouteDef]:
    """The routes, those below an instance's path included."""
    return [
        web.get("/v1/entitlements", entitlements, name="entitlements.get", allow_head=False),
        web.get(f"{prefix}/monitor_definitions", monitor_definitions, name="monitor_definitions.get", allow_head=False),
        *(web.get(path, heartbeat, allow_head=False) for path in sorted(HEARTBEATS)),
    ]


async def heartbeat(_request: web.Request) -> web.Response:
    """Which of OpenScale's two kinds this is like. Without an answer the SDK takes it for a Cloud Pak, and turns the
    verification of certificates off."""
    return web.json_response({"is_cloud": True})


async def monitor_definitions(_request: web.Request) -> web.Response:
    """The gateway monitors nothing, in no instance: so this tells nothing about any."""
    return web.json_response({"monitor_definitions": []})


async def entitlements(request: web.Request) -> web.Response:
    """The instances that the caller may look at."""
    parts, asked = parts_of(request)
    left = MOST_QUESTIONS

    async def may(access: Access) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and await parts.rights.allowed(asked.caller, access)

    places = _held(parts.reader.world)
    everywhere = await may(Access("list", INSTANCES))
    if not everywhere:
        parts.pace.take(asked.caller.user, COST_OF_MANY_QUESTIONS)
    found: list[str] = []
    for namespace, instances in sorted(places.items()):
        here = everywhere or await may(Access("list", INSTANCES, namespace))
        found += [
            id_
            for name, id_ in sorted(instances.items())
            if here or await may(Access("get", INSTANCES, namespace, name))
        ]
    if left < 0:
        _warn_of_many(asked.caller.user, int(monotonic() // 60))
    ids = dict.fromkeys(found)  # one that is claimed in two namespaces is told once
    return web.json_response({"entitlements": {"ai_openscale": [{"id": id_} for id_ in ids]}})


@lru_cache(maxsize=256)
def _warn_of_many(user: str, _minute: int) -> None:
    """Say it once a minute of each caller, however often they ask."""
    log.warning("too many instances to ask for each: grant list on them", user=user)


def _held(world: World) -> dict[str, dict[str, str]]:
    """By namespace and name: the service instance id of each instance that holds it in its namespace."""
    ids = {scope.instance.spec.service_instance_id for scope in world.scopes.values() if scope.instance}
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for id_ in ids:
        for instance in world.holders(id_):
            found[instance.metadata.namespace][instance.metadata.name] = id_
    return found
