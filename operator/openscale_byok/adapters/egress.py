"""The way to Key Protect and IAM: directly or through a proxy, and whose certificates are trusted on it.

Nothing of it comes from HTTPS_PROXY and its kin, and the API server is never asked this way. Through a proxy there is
TLS from here to IBM: what the proxy says by itself, whatever its status, is said by nobody whom we trust, and so it is
never a clear no.
"""

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

PROXY_REFUSES = 407
"""The proxy wants to know who asks."""
_PROXY, _CREDENTIALS = "OPENSCALE_BYOK_PROXY_URL", "OPENSCALE_BYOK_PROXY_CREDENTIALS"
_CA_BUNDLE = "OPENSCALE_BYOK_CA_BUNDLE"
_LONGEST = 1_024


@dataclass(frozen=True, slots=True)
class Way:
    """What the settings say of it."""

    proxy: str = ""
    """``http(s)://HOST:PORT``; empty: directly."""
    direct: Sequence[str] = ()
    """Hosts that are asked directly all the same; ``*.example.com`` stands for every host below."""
    credentials: str = ""
    """Folder with the files ``username`` and ``password`` of the proxy, as a Secret's volume has them."""
    ca_bundle: str = ""
    """PEM file of authorities that are trusted besides those of this machine."""


class Egress:
    """A way that requests take: a middleware of their session, and its TLS context.

    Credentials and authorities are read again when they are found wanting: after a 407, after a certificate that is
    not trusted. So they may be renewed under a process that runs.
    """

    def __init__(self, way: Way) -> None:
        """Read what the settings name.

        Raises:
            Refused: it cannot be used; the message names the setting.
        """
        self._way = way
        self._proxy = URL(way.proxy) if way.proxy else None
        self._headers = _proxy_headers(way)
        self.context = ssl.create_default_context()
        self.context.set_alpn_protocols(["http/1.1"])
        self._trust()

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request on its way."""
        if self._proxy is not None and not _is_direct(request.url.host or "", self._way.direct):
            request.update_proxy(self._proxy, None, self._headers)
            if not request.is_ssl():  # in development: no CONNECT, the proxy itself is asked
                request.headers.update(self._headers)
        try:
            answer = await handler(request)
        except aiohttp.ClientHttpProxyError as error:
            self._learn(credentials=error.status == PROXY_REFUSES)
            raise
        except aiohttp.ClientConnectorCertificateError:
            self._learn(authorities=True)
            raise
        self._learn(credentials=answer.status == PROXY_REFUSES)
        return answer

    def _learn(self, *, credentials: bool = False, authorities: bool = False) -> None:
        """Read anew for the next request. What cannot be read changes nothing."""
        try:
            if credentials:
                self._headers = _proxy_headers(self._way)
            if authorities:
                self._trust()
        except Refused:
            return

    def _trust(self) -> None:
        if not self._way.ca_bundle:
            return
        try:
            self.context.load_verify_locations(cafile=self._way.ca_bundle)
        except (OSError, ValueError) as error:  # an SSLError is an OSError; its text says nothing to anybody
            cause = "holds no certificate in PEM that can be read"
            if not isinstance(error, ssl.SSLError) and isinstance(error, OSError):
                cause = error.strerror or type(error).__name__
            raise Refused(Reason.CA_BUNDLE_INVALID, f"{_CA_BUNDLE}: {self._way.ca_bundle}: {cause}") from None


def unreachable(host: str, error: BaseException) -> str:
    """What to say of an error on this way: never what a proxy or a certificate says by itself."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        more = f"; see {_CREDENTIALS}" if error.status == PROXY_REFUSES else ""
        return f"{host} cannot be reached: the proxy of {_PROXY} answers {error.status}{more}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"{host} cannot be reached: the proxy of {_PROXY} cannot be"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        of_proxy = error.host not in (host, host.rpartition(":")[0].strip("[]"))
        who = f"the proxy of {_PROXY}" if of_proxy else host
        return f"{who} shows a certificate that this operator does not trust"
    return f"{host} cannot be reached"


def _is_direct(host: str, patterns: Sequence[str]) -> bool:
    host = host.lower().rstrip(".")
    return any(host.endswith(one[1:]) if one.startswith("*.") else host == one.strip("[]") for one in patterns)


def _proxy_headers(way: Way) -> dict[str, str]:
    if not way.proxy or not way.credentials:
        return {}
    pair = b":".join(_read(Path(way.credentials) / name) for name in ("username", "password"))
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def _read(path: Path) -> bytes:
    """One of the two files. A colon would end the user name elsewhere (RFC 7617); no text of a file is repeated."""
    where = f"{_CREDENTIALS}: {path}"
    try:
        with path.open("rb") as file:
            found = file.read(_LONGEST + 1).strip(b"\r\n")
    except OSError as error:
        raise Refused(Reason.CREDENTIALS_MISSING, f"{where}: {error.strerror}") from None
    if not found or len(found) > _LONGEST:
        raise Refused(Reason.CREDENTIALS_MISSING, f"{where}: {'is empty' if not found else 'is too long'}")
    if path.name == "username" and b":" in found:
        raise Refused(Reason.CREDENTIALS_MISSING, f"{where}: a user name has no colon")
    return found
