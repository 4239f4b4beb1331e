"""The application: Key Protect, IAM and the control API on one port."""

from urllib.parse import parse_qsl

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import IamError
from key_protect_emulator.http import control, iam, kms
from key_protect_emulator.http.answers import Answer
from key_protect_emulator.http.exchange import Asker, exchange

BODY_LIMIT = 1024 * 1024


def application(backend: Backend) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT)
    control.add_routes(app, backend)
    _add_iam(app, backend)
    kms.add_routes(app, backend)
    return app


def _add_iam(app: web.Application, backend: Backend) -> None:
    async def token(request: web.Request) -> web.StreamResponse:
        raw = await request.read()  # whatever its content type says: a form is all that makes sense here
        form = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))

        def perform(asker: Asker) -> Answer:
            if not form:
                raise IamError(400, "BXNIM0109E", "Property missing or empty", "The request holds no form.")
            return iam.token(backend, form, asker)

        return await exchange(backend, request, "iam.token", None, perform)

    async def jwks(request: web.Request) -> web.StreamResponse:
        return await exchange(backend, request, "iam.keys", None, lambda _: iam.jwks(backend))

    async def discovery(request: web.Request) -> web.StreamResponse:
        return await exchange(backend, request, "iam.configuration", None, lambda _: iam.discovery(backend))

    for path in ("/identity/token", "/oidc/token"):
        app.router.add_route("POST", path, token)
    app.router.add_route("GET", "/identity/keys", jwks)
    app.router.add_route("GET", "/identity/.well-known/openid-configuration", discovery)
    app.router.add_route("GET", "/.well-known/openid-configuration", discovery)
