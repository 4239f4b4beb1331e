"""What the routes are given by the composition root."""

from dataclasses import dataclass

from aiohttp import web

from openscale_byok.core.caller import Access
from openscale_byok.engine.giving import Giving
from openscale_byok.engine.reader import Reader
from openscale_byok.errors import Missing
from openscale_byok.ports import Audit, Objects, Store
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance
from openscale_byok.shell.gateway.requests import ASKED, Asked, Rights, expect, not_allowed

INSTANCES = OpenScaleInstance.PLURAL


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a route may use."""

    reader: Reader
    giving: Giving
    store: Store
    objects: Objects
    rights: Rights
    audit: Audit


PARTS = web.AppKey("parts", Parts)


async def instance_of(request: web.Request, *accesses: Access) -> OpenScaleInstance:
    """The instance that the path names by its service instance id, for a caller who may do all of this in its
    namespace. The accesses' namespaces, and the names of those to instances, are filled in.

    Raises:
        Refused: `NotAllowed`; also where there is no such instance and the caller may not list them.
        Missing: there is none.
    """
    parts, asked = request.app[PARTS], request[ASKED]
    found = parts.reader.instance(request.match_info["instance"])
    if found is None:
        if await parts.rights.allowed(asked.caller, Access("list", INSTANCES)):
            text = f"no OpenScaleInstance has spec.serviceInstanceId {request.match_info['instance']}"
            raise Missing(Reason.INSTANCE_NOT_FOUND, text)
        raise not_allowed()
    namespace, name = found.key
    wanted = (
        Access(a.verb, a.resource, namespace, name if a.resource == INSTANCES else a.name, a.group) for a in accesses
    )
    await expect(parts.rights, asked.caller, *wanted)
    return found


def parts_of(request: web.Request) -> tuple[Parts, Asked]:
    """What a route works with."""
    return request.app[PARTS], request[ASKED]
