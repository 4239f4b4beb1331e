"""The routes of OpenScale's ``data_marts``: databases, and the passwords that requests give for them."""

import asyncio
import contextlib
import re
import secrets
from json import JSONEncoder

from aiohttp import web

from openscale_byok.core import openscale_answers as shown
from openscale_byok.core.audit import Action
from openscale_byok.core.caller import Access
from openscale_byok.core.openscale_data_marts import Change, changed, expect_deletable, new, object_name
from openscale_byok.core.openscale_pages import page_of
from openscale_byok.core.preferences import LABELS
from openscale_byok.core.sealable import from_datamart
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.errors import ByokError, Changed, Missing
from openscale_byok.reasons import Reason
from openscale_byok.resources import DNS_SUBDOMAIN, DataMart, OpenScaleInstance
from openscale_byok.shell.gateway.bodies import json_of
from openscale_byok.shell.gateway.parts import Parts, instance_of, parts_of
from openscale_byok.shell.gateway.requests import Asked

MARTS = DataMart.PLURAL
_SUFFIX_BYTES = 4
TRIES = 5
"""How often a change begins anew because the object changed meanwhile."""
_NAME_CHARACTERS = 253
"""The longest name that there is; whatever a caller asks for, an audit line holds no longer one."""
_HEADERS = {"Cache-Control": "no-store"}
SLICE = 50
"""Data marts that are written without a pause, at some 10 microseconds each."""
MARTS_OF_A_REQUEST = 25
"""Data marts that cost what one request costs."""
GONE_SECONDS = 2.0
"""How long a deletion waits to be seen by our own list."""
_encode = JSONEncoder(check_circular=False).encode


def routes(prefix: str) -> list[web.RouteDef]:
    """The routes below an instance's path."""
    all_of_them, one = f"{prefix}/data_marts", f"{prefix}/data_marts/{{id}}"
    return [
        web.get(all_of_them, get_all, name="data_marts.get", allow_head=False),
        web.post(all_of_them, post, name="data_marts.post"),
        web.get(one, get, name="data_mart.get", allow_head=False),
        web.patch(one, patch, name="data_mart.patch"),
        web.delete(one, delete, name="data_mart.delete"),
    ]


async def get_all(request: web.Request) -> web.Response:
    """The data marts of the instance, wherever they were made: from memory, all of them or a page.

    Whoever asks for many is charged for them, and others are answered in between.
    """
    parts, asked = parts_of(request)
    instance = await instance_of(request, Access("list", MARTS))
    page = page_of(parts.reader.sealables(instance.key), request.query)
    if len(page.marts) >= MARTS_OF_A_REQUEST:
        parts.pace.take(asked.caller.user, len(page.marts) / MARTS_OF_A_REQUEST)
    base, written = _base(instance), list[str]()
    for begin in range(0, len(page.marts), SLICE):
        await asyncio.sleep(0)
        each = (shown.data_mart(mart, base, asked.transaction) for mart in page.marts[begin : begin + SLICE])
        written += map(_encode, each)
    more = "" if page.limit is None else f', "limit": {page.limit}'
    if page.following:
        href = f"{base}/v2/data_marts?limit={page.limit}&start={page.following}"
        more += f', "next": {_encode({"href": href, "start": page.following})}'
    body = f'{{"data_marts": [{", ".join(written)}]{more}}}'.encode()
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=_HEADERS)


async def get(request: web.Request) -> web.Response:
    """One data mart."""
    instance = await instance_of(request, Access("get", MARTS, name=request.match_info["id"]))
    return _answer(request, instance, await _mart(request, instance))


async def post(request: web.Request) -> web.Response:
    """Make a data mart and seal its password. What cannot be sealed is not kept."""
    parts, asked = parts_of(request)
    asked.about(Action.DATA_MART_CREATED, DataMart.KIND, "", "")
    instance = await instance_of(request, Access("create", MARTS))
    namespace, holder = instance.key
    wanted = new(await json_of(request), holder, instance.spec.service_instance_id)
    name = object_name(wanted.spec.get("displayName"), secrets.token_hex(_SUFFIX_BYTES))
    asked.about(Action.DATA_MART_CREATED, DataMart.KIND, namespace, name)
    await parts.giving.ready(instance.key)
    made = DataMart.of(await parts.objects.create(DataMart.KIND, namespace, name, wanted.spec, LABELS))
    try:
        mart = await parts.giving.give(made, wanted.password)
    except ByokError:
        await _take_back(parts, made)
        raise
    _by_keys(asked, mart)
    answer = _answer(request, instance, mart, status=202)
    answer.headers["Location"] = f"{_base(instance)}/v2/data_marts/{name}"
    return answer


async def patch(request: web.Request) -> web.Response:
    """Change a data mart by a JSON Patch (RFC 6902), and seal the password where one is given."""
    parts, asked = parts_of(request)
    name = request.match_info["id"]
    asked.about(Action.DATA_MART_CHANGED, DataMart.KIND, "", name[:_NAME_CHARACTERS])
    instance = await instance_of(request, Access("patch", MARTS, name=name))
    asked.about(Action.DATA_MART_CHANGED, DataMart.KIND, instance.metadata.namespace, name[:_NAME_CHARACTERS])
    mart, change = await _store_change(request, instance, await json_of(request))
    if change.password is not None:
        mart = await parts.giving.give(mart, change.password)
        _by_keys(asked, mart)
    return _answer(request, instance, mart)


async def _store_change(request: web.Request, instance: OpenScaleInstance, body: object) -> tuple[DataMart, Change]:
    """Store what a patch makes of the spec; the data mart as stored, and the change. Nothing before its password could
    be sealed.

    The operator writes statuses of its own meanwhile: then the patch is about what is there now, and is looked at anew.
    """
    parts, asked = parts_of(request)
    for left in reversed(range(TRIES)):
        mart = await _mart(request, instance)
        change = changed(mart, body, instance.spec.service_instance_id)
        if change.password is not None:
            asked.about(Action.PASSWORD_GIVEN, DataMart.KIND, *mart.key)
            await parts.giving.ready(instance.key)
        if not change.spec:
            return mart, change
        try:
            return DataMart.of(await parts.objects.patch_spec(DataMart.KIND, mart.metadata, change.spec)), change
        except Changed:
            if not left:
                raise
    raise RuntimeError("unreachable")


async def delete(request: web.Request) -> web.Response:
    """Delete a data mart of the gateway's, with its sealed password."""
    parts, asked = parts_of(request)
    name = request.match_info["id"]
    asked.about(Action.DATA_MART_DELETED, DataMart.KIND, "", name[:_NAME_CHARACTERS])
    instance = await instance_of(request, Access("delete", MARTS, name=name))
    asked.about(Action.DATA_MART_DELETED, DataMart.KIND, instance.metadata.namespace, name[:_NAME_CHARACTERS])
    mart = await _mart(request, instance)
    expect_deletable(mart)
    await parts.objects.remove(DataMart.KIND, mart.metadata)
    await parts.reader.until_gone(mart, GONE_SECONDS)
    return web.Response(status=204, headers=_HEADERS)


async def _mart(request: web.Request, instance: OpenScaleInstance) -> DataMart:
    """The data mart that the path names, read afresh.

    Raises:
        Missing: there is none of this instance.
    """
    parts, _ = parts_of(request)
    name = request.match_info["id"]
    # Any other name could lead elsewhere in the API server's paths.
    if len(name) <= _NAME_CHARACTERS and re.fullmatch(DNS_SUBDOMAIN, name):
        with contextlib.suppress(Missing):
            mart = await parts.objects.datamart(instance.metadata.namespace, name)
            if mart.spec.instance_ref.name == instance.metadata.name:
                return mart
    raise Missing(Reason.NOT_FOUND, "this instance has no such data mart")


async def _take_back(parts: Parts, made: DataMart) -> None:
    """Delete what was made for a password that could not be sealed; where that fails, its conditions say what it is."""
    with contextlib.suppress(ByokError):
        await parts.objects.remove(DataMart.KIND, made.metadata)


def _by_keys(asked: Asked, mart: DataMart) -> None:
    sealed = mart.status.sealed_password
    if sealed is not None:
        asked.by_keys(envelopes.parse(sealed.envelope).wrapped.root_key, sealed.data_key)


def _answer(request: web.Request, instance: OpenScaleInstance, mart: DataMart, status: int = 200) -> web.Response:
    parts, asked = parts_of(request)
    parts.reader.see_stored(mart)
    sealable = from_datamart(mart, instance.spec.service_instance_id)
    found = shown.data_mart(sealable, _base(instance), asked.transaction)
    return web.json_response(found, status=status, headers=_HEADERS)


def _base(instance: OpenScaleInstance) -> str:
    return f"/openscale/{instance.spec.service_instance_id}"
