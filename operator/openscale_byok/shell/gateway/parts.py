"""What the routes are given by the composition root."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from aiohttp import web

from openscale_byok.core.caller import Access, Caller
from openscale_byok.engine.giving import Giving
from openscale_byok.engine.pace import Waits
from openscale_byok.engine.reader import Reader
from openscale_byok.errors import Missing, Refused
from openscale_byok.ports import Audit, Objects, Store
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance
from openscale_byok.shell.gateway.requests import ASKED, Asked, Pace, Rights, not_allowed

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
    waits: Waits
    pace: Pace


PARTS = web.AppKey("parts", Parts)


async def instance_of(request: web.Request, *accesses: Access) -> OpenScaleInstance:
    """The instance that the path names by its service instance id, for a caller who may do all of this in its
    namespace. The accesses' namespaces, and the names of those to instances, are filled in.

    Where instances of several namespaces claim the id, the caller's rights say which one is meant.

    Raises:
        Refused: `NotAllowed`; also where there is no such instance and the caller may not list them. `Conflict`: the
            caller's rights are good for more than one that claims the id.
        Missing: there is none.
    """
    parts, asked = request.app[PARTS], request[ASKED]
    id_ = request.match_info["instance"]
    found = parts.reader.world.holders(id_)
    # Nothing may show in how long a no takes: an id that nobody has is asked about as one that somebody has, each
    # access once and then the list; and what was learned of one id is not used for another one.
    places = [instance.key for instance in found] or [_nowhere(id_)]
    wanted = [[_filled(access, place, id_) for access in accesses] for place in places]
    granted = [await _all_of(parts.rights, asked.caller, each) for each in wanted]
    meant = [instance for instance, yes in zip(found, granted, strict=False) if yes]
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(instance.metadata.namespace for instance in meant)
        text = (
            f"instances of the namespaces {names} claim this service instance id: delete all but one, or have the "
            "operator's owner say whose it is (settings.allowedInstances)"
        )
        raise Refused(Reason.CONFLICT, text)
    if await parts.rights.allowed(asked.caller, Access("list", INSTANCES)) and not found:
        raise Missing(Reason.INSTANCE_NOT_FOUND, f"no OpenScaleInstance has spec.serviceInstanceId {id_}")
    raise not_allowed()


def _filled(access: Access, place: tuple[str, str], id_: str) -> Access:
    namespace, name = place
    return Access(
        access.verb,
        access.resource,
        namespace,
        name if access.resource == INSTANCES else access.name,
        access.group,
        id_,
    )


async def _all_of(rights: Rights, caller: Caller, accesses: Sequence[Access]) -> bool:
    """Whether each is allowed; all are asked for, whatever the first answer is."""
    return all([await rights.allowed(caller, access) for access in accesses])


def _nowhere(id_: str) -> tuple[str, str]:
    """A namespace and a name for an id that nobody has. That nobody has made them does not matter: whoever may do
    something there is still told what is so."""
    digest = sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return digest, digest


def parts_of(request: web.Request) -> tuple[Parts, Asked]:
    """What a route works with."""
    return request.app[PARTS], request[ASKED]
