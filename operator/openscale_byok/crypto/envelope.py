"""The envelope: a secret sealed under a data key, bound to what it is, where it may go, and how the server is proven.

A compact JWE whose protected header holds, besides ``alg`` and ``enc``:

======  ==================================================================================
``typ``  the format, ``openscale-byok.v2``; a newer one is refused, never guessed at
``kid``  the id of the data key, which commits to it
``ctx``  the context: instance, kind, namespace, name, field, endpoint and proof
``rk``   the root key that wrapped the data key when this was written
``wk``   the data key as wrapped then, so that each object can be recovered alone
======  ==================================================================================

``openscale-byok.v1`` had no proof in its context. It opens for ever, and is written no more. docs/envelope.md says all
of this for those who have nothing of ours.
"""

import re
from dataclasses import dataclass
from sys import intern
from typing import Any

from openscale_byok.crypto import jwe
from openscale_byok.crypto.context import TLS_MODES, Context, Departure, Endpoint, Proof, departure
from openscale_byok.crypto.data_key import ID_CHARACTERS, DataKey
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

TYP = "openscale-byok.v2"
WITHOUT_PROOF = "openscale-byok.v1"
_TYP_OF_ANY_VERSION = re.compile(r"openscale-byok\.v[1-9][0-9]{0,3}\Z")
_KEY_ID = re.compile(rf"[A-Za-z0-9_-]{{{ID_CHARACTERS}}}\Z")
_DIGEST = re.compile(r"([A-Za-z0-9_-]{43})?\Z")
_HEADER = {"alg", "enc", "typ", "kid", "ctx", "rk", "wk"}
MAX_WRAPPED_CHARACTERS = 8_192


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
    """Seal a secret; the nonce is 12 fresh random bytes. Without a proof in the context it is a v1.

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
        "typ": WITHOUT_PROOF if context.proof is None else TYP,
        "kid": data_key.id,
        "ctx": context.header(),
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
    known = typ in (TYP, WITHOUT_PROOF)
    if isinstance(typ, str) and not known and _TYP_OF_ANY_VERSION.match(typ):
        raise Refused(Reason.NEWER_FORMAT, f"the envelope has format {typ}; this operator writes {TYP}")
    if not known or set(header) != _HEADER:
        raise Refused(Reason.TAMPERED, "the envelope's header has other fields than ours")
    kid, root_key, wrapped = header["kid"], header["rk"], header["wk"]
    texts = isinstance(kid, str) and isinstance(root_key, str) and isinstance(wrapped, str)
    if not texts or not _KEY_ID.match(kid) or not 0 < len(wrapped) <= MAX_WRAPPED_CHARACTERS:
        raise Refused(Reason.TAMPERED, "the envelope's header has fields of other shapes than ours")
    context = _context(header["ctx"])
    if (context.proof is None) != (typ == WITHOUT_PROOF):
        raise Refused(Reason.TAMPERED, "the envelope's context has other fields than its format")
    return Envelope(text, intern(kid), context, Wrapped(intern(root_key), intern(wrapped)))


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
    """Whether the envelope says that it is this object's, for what it asks. Proven only once it was opened.

    Raises:
        Refused: `EndpointChanged` where only the endpoint differs, or less is to prove it; `ContextMismatch` where
            more does.
    """
    found = departure(envelope.context, context)
    if found is Departure.OBJECT:
        raise Refused(Reason.CONTEXT_MISMATCH, "the envelope was written for another object")
    if found is Departure.ENDPOINT:
        raise Refused(Reason.ENDPOINT_CHANGED, "the password was sealed for another endpoint")
    if found is not None:
        raise Refused(Reason.ENDPOINT_CHANGED, f"the password was sealed for a server that proves more: {found}")


def _context(raw: Any) -> Context:  # noqa: ANN401 -- whatever JSON held
    try:
        endpoint = Endpoint(**raw["endpoint"])
        proof = Proof(**raw["proof"]) if "proof" in raw else None
        context = Context(**{**raw, "endpoint": endpoint, "proof": proof})
    except (TypeError, KeyError):
        raise Refused(Reason.TAMPERED, "the envelope's context has other fields than ours") from None
    texts = (
        context.instance, context.kind, context.namespace, context.name, context.field,
        endpoint.type, endpoint.host, endpoint.database, endpoint.username,
    )  # fmt: skip
    if not all(isinstance(text, str) for text in texts) or type(endpoint.port) is not int:
        raise Refused(Reason.TAMPERED, "the envelope's context has fields of other shapes than ours")
    if proof is not None and not _known(proof):
        raise Refused(Reason.TAMPERED, "the envelope's context has a proof of another shape than ours")
    return context


def _known(proof: Proof) -> bool:
    return proof.tls in TLS_MODES and isinstance(proof.ca, str) and _DIGEST.match(proof.ca) is not None
