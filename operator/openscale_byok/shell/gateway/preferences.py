"""The routes of OpenScale's ``user_preferences``: the root key that a user brings."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from openscale_byok.core.audit import Action
from openscale_byok.core.caller import Access
from openscale_byok.core.preferences import (
    LABELS,
    ROOT_KEY,
    VALUE,
    Progress,
    Wish,
    current,
    invalid,
    patched,
    progress,
    root_key_in,
    spec_of,
    wish,
)
from openscale_byok.engine.scope import Key
from openscale_byok.errors import Changed, Contradicted, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance, RootKeyBinding
from openscale_byok.shell.gateway.application import END
from openscale_byok.shell.gateway.bodies import json_of
from openscale_byok.shell.gateway.parts import INSTANCES, Parts, instance_of, parts_of
from openscale_byok.shell.gateway.requests import Asked

BINDINGS = RootKeyBinding.PLURAL
LONGEST_WAIT_SECONDS = 300
CONFIRM_SECONDS = 5.0
"""How long Key Protect is asked about a CRN before its binding is made without its word."""
TRIES = 5
"""How often a request begins anew because another one changes the same thing."""
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
READ = (Access("get", INSTANCES), Access("list", BINDINGS))
MAKE = (Access("create", BINDINGS), Access("delete", BINDINGS), Access("bind", INSTANCES))
"""Making one replaces another one, so both are asked."""
TAKE = (Access("delete", BINDINGS), Access("bind", INSTANCES))


def routes(prefix: str) -> list[web.RouteDef]:
    """The routes below an instance's path."""
    all_of_them, one = f"{prefix}/user_preferences", f"{prefix}/user_preferences/{{key}}"
    return [
        web.get(all_of_them, get_all, name="preferences.get", allow_head=False),
        web.patch(all_of_them, patch, name="preferences.patch"),
        web.get(one, get, name="preference.get", allow_head=False),
        web.put(one, put, name="preference.put"),
        web.delete(one, delete, name="preference.delete"),
    ]


async def get_all(request: web.Request) -> web.Response:
    """Every preference."""
    found = await _current(request)
    return web.json_response({} if found is None else {ROOT_KEY: found})


async def get(request: web.Request) -> web.Response:
    """One preference, as IBM's SDK has it."""
    found = await _current(request)
    if found is None or request.match_info["key"] != ROOT_KEY:
        raise Missing(Reason.NOT_FOUND, f"the preference {_key(request)} is not set")
    return web.json_response({VALUE: found})


async def put(request: web.Request) -> web.Response:
    """Bind the root key that the body names."""
    _ours_only(request)
    _, asked = parts_of(request)
    asked.about(Action.BINDING_CREATED, RootKeyBinding.KIND, "", "")
    instance = await instance_of(request, *MAKE)
    body = await json_of(request)
    wanted = root_key_in(body)
    await _hold(request, instance, wanted)
    return await _answer(request, instance, wanted, dict(body))


async def delete(request: web.Request) -> web.Response:
    """Take the user's root key back: everything goes under the global key."""
    _ours_only(request)
    _, asked = parts_of(request)
    asked.about(Action.BINDING_DELETED, RootKeyBinding.KIND, "", "")
    instance = await instance_of(request, *TAKE)
    if not await _hold(request, instance, None):
        raise Missing(Reason.NOT_FOUND, f"the preference {ROOT_KEY} is not set")
    return await _answer(request, instance, None, {})


async def patch(request: web.Request) -> web.Response:
    """A JSON Patch (RFC 6902) of the preferences."""
    parts, asked = parts_of(request)
    asked.about(Action.BINDING_CREATED, RootKeyBinding.KIND, "", "")
    instance = await instance_of(request, *MAKE, *READ)
    bindings = (await parts.store.bindings(*instance.key)).items
    wanted = patched(await json_of(request), current(instance, bindings))
    if wanted is None:
        asked.about(Action.BINDING_DELETED, RootKeyBinding.KIND, *instance.key)
    await _hold(request, instance, wanted)
    return await _answer(request, instance, wanted, {} if wanted is None else {ROOT_KEY: wanted})


async def _current(request: web.Request) -> str | None:
    parts, _ = parts_of(request)
    instance = await instance_of(request, *READ)
    return current(instance, (await parts.store.bindings(*instance.key)).items)


async def _hold(request: web.Request, instance: OpenScaleInstance, wanted: str | None) -> bool:
    """Make the wanted binding and delete the former ones; whether anything had to be done."""
    parts, asked = parts_of(request)
    conflict = parts.reader.world.conflict(instance.key)
    if conflict is not None:
        raise conflict  # nothing of it moves: who asks would wait for ever
    if wanted is not None and instance.spec.credentials is None:
        text = (
            f"OpenScaleInstance {instance.metadata.name} has no spec.credentials, which a root key bound here is used "
            "with; set them there"
        )
        raise Refused(Reason.INVALID_REQUEST, text)
    made = ""
    for _ in range(TRIES):
        found = wish(instance.metadata.name, wanted, (await parts.store.bindings(*instance.key)).items)
        made = found.create or made
        _name(asked, instance, made or next((b.metadata.name for b in found.delete), ""), wanted)
        if not found.create:
            for binding in found.delete:
                await _remove(parts, binding)
            return bool(made or found.delete)
        await _confirm(parts, instance, found)
        spec = spec_of(instance.metadata.name, found.root_key)
        with contextlib.suppress(Changed):  # another request took the number: look again at what there is
            await parts.objects.create(RootKeyBinding.KIND, instance.metadata.namespace, found.create, spec, LABELS)
    text = f"other requests change the root key of OpenScaleInstance {instance.metadata.name} too; look, and try again"
    raise Changed(Reason.CHANGED_MEANWHILE, text)


async def _confirm(parts: Parts, instance: OpenScaleInstance, found: Wish) -> None:
    """What the CRN says, by Key Protect's own word: before anything is made, or taken from what is in force.

    Without an answer it is made all the same, and never comes into force unless it is confirmed.

    Raises:
        Contradicted: Key Protect names another CRN for this key.
    """
    meta = {"namespace": instance.metadata.namespace, "name": found.create}
    spec = spec_of(instance.metadata.name, found.root_key)
    binding = RootKeyBinding.of({"metadata": meta, "spec": dict(spec)})
    try:
        async with asyncio.timeout(CONFIRM_SECONDS):
            await parts.reader.describe(binding, instance.spec.credentials)
    except Refused as error:
        if error.reason is Reason.CRN_MISMATCH:
            raise Contradicted(error.reason, error.message) from None
    except (Unavailable, TimeoutError):
        return


def _name(asked: Asked, instance: OpenScaleInstance, name: str, wanted: str | None) -> None:
    asked.about(asked.action, RootKeyBinding.KIND, instance.metadata.namespace, name, granted=bool(name))
    asked.by_keys(wanted or instance.properties.user_root_key_crn, "")


async def _remove(parts: Parts, binding: RootKeyBinding) -> None:
    try:
        await parts.objects.remove(RootKeyBinding.KIND, binding.metadata)
    except Missing:
        return


async def _answer(
    request: web.Request, instance: OpenScaleInstance, wanted: str | None, body: dict[str, Any]
) -> web.Response:
    """200 once everything is re-encrypted, for whoever waits; else 202, how far it is, and where to look.

    Who waits holds a connection. Where too many do, one more is told at once how far it is.
    """
    parts, asked = parts_of(request)
    seconds = _wait_of(request)
    headers = {"Location": request.path, "Cache-Control": "no-store"}
    with parts.waits.place(asked.caller.user) as has_place:
        if seconds and has_place:
            headers["Preference-Applied"] = f"wait={seconds}"
            await _wait(request, lambda: _progress(parts, instance.key, wanted).over, seconds)
    found = _progress(parts, instance.key, wanted)
    if found.contradicted:
        raise Contradicted(Reason.CRN_MISMATCH, found.contradicted)
    if found.done:
        return web.json_response(body, headers=headers) if body else web.Response(status=204, headers=headers)
    look = f"kubectl -n {instance.metadata.namespace} get openscaleinstance {instance.metadata.name} -o wide"
    return web.json_response(body | {"progress": {"message": found.message, "see": look}}, status=202, headers=headers)


async def _wait(request: web.Request, condition: Callable[[], bool], seconds: int) -> None:
    """Wait until a condition holds; no longer than the client is there, nor beyond the gateway's end."""
    parts, _ = parts_of(request)
    for _ in range(seconds):
        gone = request.transport is None or request.config_dict[END].begun
        if gone or await parts.reader.until(condition, 1.0):
            return


def _progress(parts: Parts, key: Key, wanted: str | None) -> Progress:
    scope = parts.reader.world.scope(key)
    return progress(scope.instance, tuple(scope.bindings.values()), wanted)


def _wait_of(request: web.Request) -> int:
    """Seconds of ``Prefer: wait=N`` (RFC 7240); 0 where it is not asked for."""
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


def _ours_only(request: web.Request) -> None:
    if request.match_info["key"] != ROOT_KEY:
        raise invalid(f"this gateway keeps the preference {ROOT_KEY} and no other, so not {_key(request)}")


def _key(request: web.Request) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "?", request.match_info["key"][:64])
