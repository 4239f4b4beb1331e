"""The application: Key Protect, IAM and the control API on one port."""

from urllib.parse import parse_qsl

from aiohttp import web

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import IamError
from key_protect_emulator.http import control, iam, kms
from key_protect_emulator.http.answers import Answer
from key_protect_emulator.http.body import LIMIT, BodyError, read
from key_protect_emulator.http.exchange import Asker, exchange


def runner(backend: Backend) -> web.AppRunner:
    """What serves the application. It unpacks no bodies: `body.read` does, and says what is wrong with one."""
    return web.AppRunner(application(backend), access_log=None, shutdown_timeout=1.0, auto_decompress=False)


def application(backend: Backend) -> web.Application:
    app = web.Application(client_max_size=LIMIT)
    control.add_routes(app, backend)
    _add_iam(app, backend)
    kms.add_routes(app, backend)
    return app


def _names_client(request: web.Request) -> bool:
    return request.headers.get("Authorization", "").lower().startswith("basic ")


def _add_iam(app: web.Application, backend: Backend) -> None:
    async def token(request: web.Request) -> web.StreamResponse:
        try:  # whatever its content type says: a form is all that makes sense here
            form = dict(parse_qsl((await read(request)).decode("utf-8", "replace"), keep_blank_values=True))
            why = "The request holds no form."
        except BodyError as error:
            form, why = {}, error.message

        def perform(asker: Asker) -> Answer:
            if not form:
                raise IamError(400, "BXNIM0109E", "Property missing or empty", why)
            return iam.token(backend, form, asker, client=_names_client(request))

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
