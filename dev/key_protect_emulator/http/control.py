"""The control API under /emulator: set the scene, move the clock, order faults, read the counts.

JSON in, JSON out; errors are {"error": text}. Nothing here is counted, and no fault applies to it.
"""

import fnmatch
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import ControlError, KeyProtectError
from key_protect_emulator.faults import fault_from
from key_protect_emulator.grants import OPERATIONS
from key_protect_emulator.http import control_iam, control_keys
from key_protect_emulator.http.body import BodyError, read
from key_protect_emulator.http.control_call import Body, ControlCall, ControlRoute
from key_protect_emulator.http.exchange import report

PREFIX: Final = "/emulator"


def add_routes(app: web.Application, backend: Backend) -> None:
    routes = (*_OWN, *control_iam.ROUTES, *control_keys.ROUTES)
    for route in routes:
        app.router.add_route(route.method, PREFIX + route.path, _endpoint(backend, route))
    app.router.add_route("*", PREFIX + "{rest:(/.*)?}", _unknown(routes))


def _endpoint(backend: Backend, route: ControlRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        try:
            _local_only(backend, request)
            body = _object(await read(request))
            route.check(body)
            answer = route.handler(ControlCall(backend, request.match_info, request.query, body))
            if request.method != "GET":
                backend.dirty = True
                backend.save()
        except (ControlError, BodyError) as error:
            return _json({"error": error.message}, error.status)
        except KeyProtectError as error:
            return _json({"error": error.message, "code": error.code}, error.status)
        except Exception as error:  # noqa: BLE001 -- even a fault of ours answers in JSON
            return _json({"error": report(error)}, 500)
        return _json(answer if answer is not None else {})

    return endpoint


def _unknown(routes: tuple[ControlRoute, ...]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    patterns = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", PREFIX + route.path)), route.method) for route in routes]

    async def endpoint(request: web.Request) -> web.StreamResponse:
        methods = sorted({method for pattern, method in patterns if pattern.fullmatch(request.path)})
        if methods:
            return _json({"error": f"the path takes {' and '.join(methods)}"}, 405)
        return _json({"error": "the control API has no such path: see README.md"}, 404)

    return endpoint


def _local_only(backend: Backend, request: web.Request) -> None:
    """The control API hands out keys: only this machine may use it, unless started with --remote-control."""
    remote = request.remote
    if not backend.remote_control and not (remote and ipaddress.ip_address(remote).is_loopback):
        raise ControlError(403, "the control API answers to this machine only (see --remote-control)")


def _object(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ControlError(400, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise ControlError(400, "the body must be a JSON object")
    return body


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


def health(call: ControlCall) -> Body:
    return {"status": "ok", "time": rfc3339(call.now)}


def ready(call: ControlCall) -> Body:
    backend = call.backend
    first = backend.world.bootstrap
    return {
        "url": backend.url,
        "iam_url": backend.url,
        "account": first["account"],
        "instance": first["instance"],
        "instance_crn": backend.world.instances[first["instance"]].crn,
        "service_id": first["service_id"],
        "api_key": first["api_key"],
    }


def get_clock(call: ControlCall) -> Body:
    return {"epoch": call.now, "time": rfc3339(call.now), "offset": call.backend.clock.offset}


def move_clock(call: ControlCall) -> Body:
    advance, epoch = call.number("advance_seconds"), call.number("set_epoch")
    if (advance is None) == (epoch is None):
        raise ControlError(400, "give either advance_seconds or set_epoch")
    try:
        if advance is not None:
            call.backend.clock.advance(advance)
        if epoch is not None:
            call.backend.clock.set(epoch)
    except ValueError as error:
        raise ControlError(400, str(error)) from error
    return get_clock(call)


def list_faults(call: ControlCall) -> Body:
    return {"faults": [vars(fault) for fault in call.backend.faults.orders]}


def order_fault(call: ControlCall) -> Body:
    fault = fault_from(call.body)
    call.backend.faults.add(fault)
    return {"id": fault.id}


def clear_faults(call: ControlCall) -> None:
    operation = call.query.get("operation")
    if operation is not None and not fnmatch.filter(OPERATIONS, operation):
        raise ControlError(400, f"no operation is called {operation}")
    call.backend.faults.clear(operation)


def get_counts(call: ControlCall) -> Body:
    return call.backend.counts.report()


def reset_counts(call: ControlCall) -> None:
    call.backend.counts.reset()


def get_requests(call: ControlCall) -> Body:
    return {"requests": list(call.backend.log.entries)}


def reset_requests(call: ControlCall) -> None:
    call.backend.log.entries.clear()


_OWN: Final = (
    ControlRoute("GET", "/health", health),
    ControlRoute("GET", "/ready", ready),
    ControlRoute("GET", "/clock", get_clock),
    ControlRoute("POST", "/clock", move_clock, ("advance_seconds", "set_epoch")),
    ControlRoute("GET", "/faults", list_faults),
    ControlRoute("POST", "/faults", order_fault, None),
    ControlRoute("DELETE", "/faults", clear_faults),
    ControlRoute("GET", "/counts", get_counts),
    ControlRoute("DELETE", "/counts", reset_counts),
    ControlRoute("GET", "/requests", get_requests),
    ControlRoute("DELETE", "/requests", reset_requests),
)
