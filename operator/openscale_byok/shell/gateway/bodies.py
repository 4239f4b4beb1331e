"""The body of a request as JSON."""

import json
from typing import Any

from aiohttp import web

from openscale_byok.core.preferences import invalid


async def json_of(request: web.Request) -> Any:  # noqa: ANN401 -- JSON
    """What the body holds.

    Raises:
        Refused: `InvalidRequest`: it is not JSON. Nothing of it is repeated.
    """
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise invalid("the body must be JSON") from None
