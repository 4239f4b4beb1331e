"""One question to the gateway: TLS always verified, no redirects, no proxy, bounded in time and size.

The token and the authority's certificate are files that others renew: both are looked at for each question.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from openscale_byok.shell.agent.answers import Answer, NoAnswer, judge
from openscale_byok.shell.agent.files import signature

MAX_BODY = 1 << 18
MAX_TOKEN = 1 << 16


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway is, and what we show there."""

    url: str
    """``https://HOST[:PORT]``, without a path."""
    ca_file: Path | None
    """The authority that signs the gateway's certificate; without one: those that this machine trusts."""
    token_file: Path
    seconds: float
    """For one question, from the first packet to the last."""


class _NotRead(Exception):
    """A file of ours cannot be used now."""


class Gateway:
    """The gateway, over one pool of connections."""

    def __init__(self, door: Door) -> None:
        """Open nothing yet."""
        self._door = door
        self._context: ssl.SSLContext | None = None
        self._seen: object = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=4),
            timeout=aiohttp.ClientTimeout(total=door.seconds),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # what arrives is bounded, so what it unpacks to must be the same
            raise_for_status=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def ask(self, path: str, etag: str | None) -> Answer:
        """Ask for the credentials under a path; if they are others than those of this ETag, where one is given."""
        try:
            headers = {"Authorization": f"Bearer {self._token()}", "Accept-Encoding": "identity"}
            context = self._trust()
        except _NotRead as error:
            return NoAnswer(str(error))
        if etag is not None:
            headers["If-None-Match"] = etag
        try:
            async with self._session.get(
                self._door.url + path, headers=headers, ssl=context, allow_redirects=False
            ) as answer:
                body = await _read(answer)
                if len(body) > MAX_BODY:
                    answer.close()
                    return NoAnswer("the answer is longer than any credentials are")
                return judge(answer.status, answer.headers, body, etag)
        except aiohttp.ClientConnectorCertificateError:
            return NoAnswer("the gateway shows a certificate that is not trusted: see --ca-file and the host's name")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # An aiohttp error may quote a header; its type says enough.
            return NoAnswer(f"the gateway cannot be reached: {type(error).__name__}")

    def _token(self) -> str:
        """The token as the file has it now: the kubelet renews it."""
        try:
            with self._door.token_file.open("rb") as file:
                token = file.read(MAX_TOKEN).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise _NotRead(f"the token file {self._door.token_file} cannot be read") from None
        if not token or not token.isprintable() or " " in token:
            raise _NotRead(f"the token file {self._door.token_file} holds no token")
        return token

    def _trust(self) -> ssl.SSLContext:
        """What to trust. A new context has connections of its own, so a former authority vouches for none that stay."""
        file = self._door.ca_file
        seen = None if file is None else signature(file)
        if self._context is None or seen != self._seen:
            try:
                self._context = ssl.create_default_context(cafile=file)
            except (OSError, ssl.SSLError):
                self._context = None
                raise _NotRead(f"the file {file} of the gateway's authority cannot be read") from None
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._seen = seen
        return self._context


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, or a little more than we take."""
    raw = bytearray()
    async for piece in answer.content.iter_any():
        raw += piece
        if len(raw) > MAX_BODY:
            break
    return bytes(raw)
