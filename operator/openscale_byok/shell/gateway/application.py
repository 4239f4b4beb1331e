"""What stands around every route of the gateway: its connection is watched, it is counted, its body is bounded."""

import asyncio
from collections.abc import Callable
from random import random
from time import monotonic

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from openscale_byok.core.network import network_of
from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.shell.gateway.connections import Connections, Limits, Phase
from openscale_byok.shell.gateway.metrics import Metrics

BEGUN_AT_ONCE = 8
"""Requests that begin in one round of the event loop, at some half a millisecond each. Five hundred that come at once
would else make one round of it, which everybody's next request, and each probe, would wait for."""
NO_ROUTE = "none"
TOO_OFTEN = 429


class Beginnings:
    """When a request begins: addresses take turns, and a round of the event loop has room for a few."""

    def __init__(self) -> None:
        self._turns = FairQueue(BEGUN_AT_ONCE)

    async def turn(self, network: str) -> None:
        """Wait for it."""
        await self._turns.take(network)
        asyncio.get_running_loop().call_soon(self._turns.give_back, network)


class End:
    """Whether the end has begun: connections are not kept alive any more."""

    def __init__(self) -> None:
        self.begun = False


CONNECTIONS = web.AppKey("connections", Connections)
METRICS = web.AppKey("metrics", Metrics)
END = web.AppKey("end", End)


def application(
    metrics: Metrics | None,
    *middlewares: Middleware,
    limits: Limits | None = None,
    is_open: Callable[[str], bool] = lambda _: False,
) -> web.Application:
    """An application that `serve` can run; the caller adds its routes.

    Around every handler: the request is counted; then the middlewares that are given, in this order; then its body is
    read whole, within its limits of size and time. So who is refused by a middleware never has a body read, and
    a handler never waits for one: `web.HTTPRequestEntityTooLarge` (413) and `web.HTTPRequestTimeout` (408) pass
    through the middlewares, which may give them a shape.

    Args:
        metrics: where requests are counted; None: nowhere.
        middlewares: let through only whose caller is known, but for what is open.
        limits: of the listener.
        is_open: whether anybody may ask for a path. Such a request has no body, and makes nobody known.
    """
    limits = limits or Limits()
    connections, end = Connections(limits), End()
    counted = _counted(connections, metrics, end, Beginnings())
    app = web.Application(
        middlewares=[counted, *middlewares, _whole_body(connections, is_open)],
        client_max_size=limits.body_bytes,
    )
    app[CONNECTIONS], app[END] = connections, end
    if metrics is not None:
        app[METRICS] = metrics
    return app


def _counted(connections: Connections, metrics: Metrics | None, end: End, beginnings: Beginnings) -> Middleware:
    def last(request: web.Request, answer: web.StreamResponse) -> None:
        """No other request comes by this connection at the end, nor after a body that nobody read."""
        if end.begun or not request.content.is_eof():
            answer.force_close()

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection, began, status = connections.of(request), monotonic(), 500
        if connection is not None:
            connection.enter(Phase.ASKING)
        try:
            await beginnings.turn(network_of(request.remote or ""))
            try:
                answer = await handler(request)
                status = answer.status
                if status == TOO_OFTEN and not end.begun:
                    if connection is not None:
                        connection.enter(Phase.ASKING)
                    # Not all of a crowd at the same moment: together they would come again together.
                    await asyncio.sleep(connections.limits.too_often * (1 + random()))  # noqa: S311 -- spreads, hides nothing
            except web.HTTPException as error:
                status = error.status
                last(request, error)
                raise
            last(request, answer)
            return answer
        finally:
            found = request.match_info.route.resource
            route = NO_ROUTE if found is None else found.canonical
            if metrics is not None:
                metrics.answered(route, request.method, status, monotonic() - began)
            if connection is not None:
                connection.served = connection.served or (connection.phase is Phase.REQUEST and status < 400)
                # The answer is still to be written: a peer that does not read it is idle.
                connection.enter(Phase.IDLE if request.content.is_eof() else Phase.LINGER)

    return around


def _whole_body(connections: Connections, is_open: Callable[[str], bool]) -> Middleware:
    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_open(request.path):
            if request.can_read_body:
                raise web.HTTPRequestEntityTooLarge(0, request.content_length or 0)
            return await handler(request)
        if request.can_read_body:
            await _read(request, connections.limits)
        connection = connections.of(request)
        if connection is not None:
            connection.enter(Phase.REQUEST)
        return await handler(request)

    return around


async def _read(request: web.Request, limits: Limits) -> None:
    length = request.content_length or 0
    if length > limits.body_bytes:
        raise web.HTTPRequestEntityTooLarge(limits.body_bytes, length)
    try:
        async with asyncio.timeout(limits.body):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
    except (web.RequestPayloadError, ConnectionError):
        # The second: the client went away, and nobody reads this. Raised as it is, aiohttp would log it as ours.
        raise web.HTTPBadRequest(text="the body is not of the encoding that its head names") from None
