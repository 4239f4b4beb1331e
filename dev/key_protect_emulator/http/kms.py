"""From an HTTP request to an authorized Call of Key Protect."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import plain, refusal, unauthorized
from key_protect_emulator.grants import ROLES, allows, sees_all
from key_protect_emulator.http.answers import Answer
from key_protect_emulator.http.body import BodyError, read
from key_protect_emulator.http.call import Call
from key_protect_emulator.http.exchange import Asker, exchange
from key_protect_emulator.http.routes import API, Route, action_route, routes
from key_protect_emulator.iam import Caller
from key_protect_emulator.keys import Key
from key_protect_emulator.policies import ip_allowed
from key_protect_emulator.world import Instance, settle_instance, settle_key

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(application: web.Application, backend: Backend) -> None:
    for route in routes():
        application.router.add_route(route.method, API + route.path, _endpoint(backend, route))
    application.router.add_route("POST", API + "/keys/{key}", _old_action(backend))
    application.router.add_route("*", API + "/{rest:.*}", _unknown(backend))


def _endpoint(backend: Backend, route: Route) -> Endpoint:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        return await _serve(backend, request, route)

    return endpoint


def _old_action(backend: Backend) -> Endpoint:
    """POST /keys/{id}?action=X, the older spelling of POST /keys/{id}/actions/X."""

    async def endpoint(request: web.Request) -> web.StreamResponse:
        name = request.query.get("action", "")
        route = action_route(name) if name != "sync" else None
        if route is not None:
            return await _serve(backend, request, route)

        def refuse(_: Asker) -> Answer:
            raise refusal("INVALID_QUERY_PARAM_ERR", "unknown action", parameter="action")

        return await exchange(backend, request, "unknown", None, refuse)

    return endpoint


def _unknown(backend: Backend) -> Endpoint:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        def refuse(_: Asker) -> Answer:
            raise plain(404, "The path does not exist")

        return await exchange(backend, request, "unknown", None, refuse)

    return endpoint


async def _serve(backend: Backend, request: web.Request, route: Route) -> web.StreamResponse:
    body = await _body(request)
    instance, key = _addressed(backend, request)

    def perform(asker: Asker) -> Answer:
        now = backend.clock.now()
        caller = backend.mint.verify(request.headers.get("Authorization"), now)
        asker.identity = caller.identity
        if isinstance(body, BodyError):
            raise refusal("BAD_BODY_ERR", body.message) if body.status == 400 else plain(body.status, body.message)
        answer = route.handler(_authorize(backend, request, route, caller, body, now))
        backend.dirty = backend.dirty or route.writes
        return answer

    return await exchange(backend, request, route.operation, key.id if instance and key else None, perform)


async def _body(request: web.Request) -> bytes | BodyError:
    try:
        return await read(request)
    except BodyError as error:
        return error


def _addressed(backend: Backend, request: web.Request) -> tuple[Instance | None, Key | None]:
    instance = backend.world.instances.get(request.headers.get("Bluemix-Instance", ""))
    name = request.match_info.get("key")
    return instance, instance.find(name) if instance and name else None


def _authorize(backend: Backend, request: web.Request, route: Route, caller: Caller, body: bytes, now: float) -> Call:
    if not request.headers.get("Bluemix-Instance"):
        raise plain(400, "The header Bluemix-Instance is required")
    instance, key = _addressed(backend, request)
    if instance is None:
        raise unauthorized()
    if route.lists_keys:
        backend.dirty = settle_instance(instance, now) or backend.dirty
    elif key is not None:
        backend.dirty = settle_key(instance, key, now) or backend.dirty
        key = instance.keys.get(key.id)
    _permit(backend, caller, instance, key, route)
    if not ip_allowed(instance, request.remote or ""):
        raise unauthorized()
    ring = request.headers.get("X-Kms-Key-Ring")
    if key is not None and ring and key.ring != ring:
        key = None
    return Call(
        instance=instance,
        caller=caller,
        now=now,
        path=request.match_info,
        query=request.query,
        headers=request.headers,
        body=body,
        sees_all_keys=sees_all(backend.world.grants, caller.identity, instance.account, instance.id),
        addressed=key,
    )


def _permit(backend: Backend, caller: Caller, instance: Instance, key: Key | None, route: Route) -> None:
    grants = backend.world.grants
    if caller.account != instance.account:
        raise unauthorized()
    key_id = key.id if key else None
    if allows(grants, caller.identity, instance.account, instance.id, key_id, route.operation):
        return
    # Whoever was granted single keys may ask for the list; it just does not show them.
    keyed = [g for g in grants if (g.identity, g.instance) == (caller.identity, instance.id) and g.key]
    if route.lists_keys and any(route.operation in ROLES[grant.role] for grant in keyed):
        return
    raise unauthorized()
