"""Every route of the gateway: what the application serves and what its OpenAPI document describes are this one list."""

from aiohttp import web

from openscale_byok.shell.gateway import credentials, data_marts, openapi, preferences, side_calls

OPENSCALE = "/openscale/{instance}/v2"
"""Before every path of OpenScale's own API, below an instance."""
OPEN = side_calls.HEARTBEATS | {openapi.PATH}
"""What anybody may ask for, without a token."""


def every_route() -> list[web.RouteDef]:
    """The routes, each with its handler."""
    below = (preferences, data_marts, side_calls)
    return [
        *(route for module in below for route in module.routes(OPENSCALE)),
        *credentials.routes(),
        *openapi.routes(),
    ]
