"""The route that hands a password out: to whom may have it, while its root key allows it."""

from json import JSONEncoder
from typing import Any

from aiohttp import web

from openscale_byok.core.audit import Action
from openscale_byok.core.caller import CREDENTIALS, Access
from openscale_byok.engine.opening import Opened
from openscale_byok.resources import DataMart
from openscale_byok.shell.gateway.parts import parts_of
from openscale_byok.shell.gateway.requests import expect

PATH = "/v1/namespaces/{namespace}/datamarts/{name}/credentials"

_encode = JSONEncoder(check_circular=False).encode


def routes() -> list[web.RouteDef]:
    """The route."""
    return [web.get(PATH, get, name="credentials.get", allow_head=False)]


async def get(request: web.Request) -> web.Response:
    """The credentials of a data mart. Who has them already is told so, once they were found to be allowed still."""
    parts, asked = parts_of(request)
    namespace, name = request.match_info["namespace"], request.match_info["name"]
    asked.about(Action.CREDENTIALS_READ, DataMart.KIND, namespace, name)
    await expect(parts.rights, asked.caller, Access("get", CREDENTIALS, namespace, name))
    opened = await parts.reader.open(DataMart.KIND, namespace, name)
    asked.by_keys(opened.root_key, opened.data_key)
    headers = {"Cache-Control": "no-store", "ETag": f'"{opened.tag}"'}
    if _has(request, opened.tag):
        asked.about(Action.CREDENTIALS_READ, DataMart.KIND, namespace, name, granted=False)
        return web.Response(status=304, headers=headers)
    # Written out here: `json_response` takes a content type apart, and puts it together again.
    headers["Content-Type"] = "application/json; charset=utf-8"
    return web.Response(body=_encode(_credentials(opened)).encode(), headers=headers)


def _has(request: web.Request, tag: str) -> bool:
    return any(found.value == tag and not found.is_weak for found in request.if_none_match or ())


def _credentials(opened: Opened) -> dict[str, Any]:
    at, manner = opened.endpoint, opened.manner
    found = {
        "type": at.type,
        "hostname": at.host,
        "port": at.port,
        "db": at.database,
        "schema": manner.schema,
        "username": at.username,
        "password": opened.secret.decode(),
        "tls": manner.tls,
        "revision": opened.revision,
    }
    return found | ({"ca": manner.ca_bundle} if manner.ca_bundle else {})
