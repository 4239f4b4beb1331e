"""The envelope: a secret sealed under a data key, bound to what it is and where it may go.

A compact JWE whose protected header holds, besides ``alg`` and ``enc``:

======  ==================================================================================
``typ``  the format, ``openscale-byok.v1``; a newer one is refused, never guessed at
``kid``  the id of the data key, which commits to it
``ctx``  the context: instance, kind, namespace, name, field and endpoint
``rk``   the root key that wrapped the data key when this was written
``wk``   the data key as wrapped then, so that each object can be recovered alone
======  ==================================================================================
"""

import re
from dataclasses import asdict, dataclass
from sys import intern
from typing import Any

from openscale_byok.crypto import jwe
from openscale_byok.crypto.data_key import ID_CHARACTERS, DataKey
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

TYP = "openscale-byok.v1"
_TYP_OF_ANY_VERSION = re.compile(r"openscale-byok\.v[1-9][0-9]{0,3}\Z")
_KEY_ID = re.compile(rf"[A-Za-z0-9_-]{{{ID_CHARACTERS}}}\Z")
_HEADER = {"alg", "enc", "typ", "kid", "ctx", "rk", "wk"}
MAX_WRAPPED_CHARACTERS = 8_192


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sealed password may go, and nowhere else."""

    type: str
    host: str
    port: int
    database: str
    username: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a secret is. No Kubernetes UID is in it: a restored backup must open."""

    instance: str  # service instance id
    kind: str
    namespace: str
    name: str
    field: str
    endpoint: Endpoint

    def moved_only(self, other: "Context") -> bool:
        """Whether nothing but the endpoint differs: the same secret of the same object, sent elsewhere."""
        return self != other and asdict(self) | {"endpoint": None} == asdict(other) | {"endpoint": None}


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key as it is stored: by which root key, and the opaque ciphertext."""

    root_key: str
    ciphertext: str

    def __repr__(self) -> str:
        return f"Wrapped(root_key={self.root_key!r})"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. Its header is authenticated only once it was opened.

    Thousands are kept for long: what is only needed to open one is read from its text then, and what many have in
    common is there once.
    """

    text: str
    data_key: str  # id
    context: Context
    wrapped: Wrapped

    @property
    def token(self) -> jwe.Token:
        """Its parts."""
        return jwe.parse(self.text)

    def __repr__(self) -> str:
        return f"Envelope(data_key={self.data_key[:8]}…, {self.context.namespace}/{self.context.name})"


def seal(secret: bytes, data_key: DataKey, context: Context, wrapped: Wrapped, nonce: bytes) -> str:
    """Seal a secret; the nonce is 12 fresh random bytes.

    Raises:
        ValueError: the nonce has another length.
    """
    return sealed(secret, data_key, context, wrapped, nonce).text


def sealed(secret: bytes, data_key: DataKey, context: Context, wrapped: Wrapped, nonce: bytes) -> Envelope:
    """Seal a secret, and keep what `parse` would make of the text: re-encryption of thousands saves that.

    Raises:
        ValueError: the nonce has another length.
    """
    header = {
        "typ": TYP,
        "kid": data_key.id,
        "ctx": asdict(context),
        "rk": wrapped.root_key,
        "wk": wrapped.ciphertext,
    }
    return Envelope(jwe.encrypt(header, data_key.aead, nonce, secret), data_key.id, context, wrapped)


def parse(text: str) -> Envelope:
    """Read an envelope that `seal` could have written.

    Raises:
        Refused: `Tampered` where it could not; `NewerFormat` where a later version of us did.
    """
    try:
        token = jwe.parse(text)
    except jwe.Malformed as error:
        raise Refused(Reason.TAMPERED, f"the envelope was not written by this operator: {error}") from None
    header = token.header
    typ = header.get("typ")
    if isinstance(typ, str) and typ != TYP and _TYP_OF_ANY_VERSION.match(typ):
        raise Refused(Reason.NEWER_FORMAT, f"the envelope has format {typ}; this operator writes {TYP}")
    if typ != TYP or set(header) != _HEADER:
        raise Refused(Reason.TAMPERED, "the envelope's header has other fields than ours")
    kid, root_key, wrapped = header["kid"], header["rk"], header["wk"]
    texts = isinstance(kid, str) and isinstance(root_key, str) and isinstance(wrapped, str)
    if not texts or not _KEY_ID.match(kid) or not 0 < len(wrapped) <= MAX_WRAPPED_CHARACTERS:
        raise Refused(Reason.TAMPERED, "the envelope's header has fields of other shapes than ours")
    return Envelope(text, intern(kid), _context(header["ctx"]), Wrapped(intern(root_key), intern(wrapped)))


def open_(envelope: Envelope, data_key: DataKey, context: Context) -> bytes:
    """The secret, for the object that asks: *context* is what that object says, never what the envelope says.

    Verified first and compared then, so that `ContextMismatch` and `EndpointChanged` are said of envelopes
    that were really written, and every flipped bit is `Tampered`.

    Raises:
        Refused: `Tampered` where it does not verify under this data key; else as `compare`.
    """
    if data_key.id != envelope.data_key:
        raise Refused(Reason.TAMPERED, "the envelope names another data key")
    secret = jwe.decrypt(envelope.token, data_key.aead)
    if secret is None:
        raise Refused(Reason.TAMPERED, "the envelope does not verify under its data key")
    compare(envelope, context)
    return secret


def compare(envelope: Envelope, context: Context) -> None:
    """Whether the envelope says that it is this object's. Proven only once it was opened.

    Raises:
        Refused: `EndpointChanged` where only the endpoint differs; `ContextMismatch` where more does.
    """
    if envelope.context == context:
        return
    if context.moved_only(envelope.context):
        raise Refused(Reason.ENDPOINT_CHANGED, "the password was sealed for another endpoint")
    raise Refused(Reason.CONTEXT_MISMATCH, "the envelope was written for another object")


def _context(raw: Any) -> Context:  # noqa: ANN401 -- whatever JSON held
    try:
        endpoint = Endpoint(**raw["endpoint"])
        context = Context(**{**raw, "endpoint": endpoint})
    except (TypeError, KeyError):
        raise Refused(Reason.TAMPERED, "the envelope's context has other fields than ours") from None
    texts = (
        context.instance, context.kind, context.namespace, context.name, context.field,
        endpoint.type, endpoint.host, endpoint.database, endpoint.username,
    )  # fmt: skip
    if not all(isinstance(text, str) for text in texts) or type(endpoint.port) is not int:
        raise Refused(Reason.TAMPERED, "the envelope's context has fields of other shapes than ours")
    return context
