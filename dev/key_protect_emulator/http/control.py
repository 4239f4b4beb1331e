"""The control API under /emulator: set the scene, move the clock, order faults, read the counts.

JSON in, JSON out; errors are {"error": text}. Nothing here is counted, and no fault applies to it.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import ControlError, KeyProtectError
from key_protect_emulator.faults import fault_from
from key_protect_emulator.http import control_iam, control_keys
from key_protect_emulator.http.control_call import Body, ControlCall
from key_protect_emulator.http.exchange import report

Handler = Callable[[ControlCall], Body]
PREFIX: Final = "/emulator"


def add_routes(app: web.Application, backend: Backend) -> None:
    for method, path, handler in (*_OWN, *control_iam.ROUTES, *control_keys.ROUTES):
        app.router.add_route(method, PREFIX + path, _endpoint(backend, handler))


def _endpoint(backend: Backend, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            _local_only(backend, request)
            body = _object(raw)
            answer = handler(ControlCall(backend, request.match_info, request.query, body))
            if request.method != "GET":
                backend.dirty = True
                backend.save()
        except ControlError as error:
            return _json({"error": error.message}, error.status)
        except KeyProtectError as error:
            return _json({"error": error.message, "code": error.code}, error.status)
        except Exception as error:  # noqa: BLE001 -- even a fault of ours answers in JSON
            return _json({"error": report(error)}, 500)
        return _json(answer if answer is not None else {})

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
    except ValueError as error:
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
    call.backend.faults.clear(call.query.get("operation"))


def get_counts(call: ControlCall) -> Body:
    return call.backend.counts.report()


def reset_counts(call: ControlCall) -> None:
    call.backend.counts.reset()


def get_requests(call: ControlCall) -> Body:
    return {"requests": list(call.backend.log.entries)}


def reset_requests(call: ControlCall) -> None:
    call.backend.log.entries.clear()


_OWN: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/health", health),
    ("GET", "/ready", ready),
    ("GET", "/clock", get_clock),
    ("POST", "/clock", move_clock),
    ("GET", "/faults", list_faults),
    ("POST", "/faults", order_fault),
    ("DELETE", "/faults", clear_faults),
    ("GET", "/counts", get_counts),
    ("DELETE", "/counts", reset_counts),
    ("GET", "/requests", get_requests),
    ("DELETE", "/requests", reset_requests),
)
