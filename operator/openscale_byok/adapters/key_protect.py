"""A root key in IBM Key Protect, behind the port `Kms`.

Source: IBM Key Protect API v2. Bodies of wrap, unwrap and rewrap are flat; everything else is enveloped. A
missing permission is 401, not 403, so a 401 is believed only after one fresh token.
"""

import asyncio
import base64
import binascii
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from openscale_byok.adapters.http import Answer, exchange
from openscale_byok.core.conditions import key_usable
from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.core.view import KeyStanding
from openscale_byok.crypto.data_key import KEY_BYTES, DataKey
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Aad, WrappedKey
from openscale_byok.reasons import Reason
from openscale_byok.resources import RootKeyCRN

_STATES = {1: KeyState.ACTIVE, 2: KeyState.SUSPENDED, 3: KeyState.DEACTIVATED, 5: KeyState.DESTROYED}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and what is wrong with the credentials that it was bought with."""

    text: str = field(repr=False)
    asked_with: str = field(default="", repr=False)
    """Stands for the credentials."""
    unread: tuple[Reason, str] | None = None
    """Why they could not be read again, where that was tried: when this one ends there is no other."""


class Tokens(Protocol):
    """Where access tokens come from."""

    async def token(self, *, fresh: bool = False, look: bool = False) -> Token:
        """An access token. *fresh*: the one at hand was refused. *look*: read the credentials anew."""
        ...


class KeyProtectKey:
    """One root key of Key Protect, used with one set of credentials."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        crn: RootKeyCRN,
        endpoint: str,
        tokens: Tokens,
        named_in: str = "spec.rootKey.crn",
    ) -> None:
        """*named_in* is the field or setting that names it, for whoever is to correct that."""
        self._session = session
        self._crn = crn
        self._named_in = named_in
        self._proven = False
        self._proof: asyncio.Task[KeyLook] | None = None
        self._url = f"{endpoint.rstrip('/')}/api/v2/keys/{quote(crn.key, safe='')}"
        self._tokens = tokens

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """See `ports.Kms`: a wrap without plaintext makes Key Protect generate the data key."""
        body = await self._act("wrap", {"aad": list(aad)})
        return _data_key(body), _wrapped(body, "keyVersion")

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """See `ports.Kms`."""
        return _data_key(await self._act("unwrap", {"ciphertext": ciphertext, "aad": list(aad)}))

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """See `ports.Kms`. ``keyVersion`` is the version that was sent; ``rewrappedKeyVersion`` what came back."""
        body = await self._act("rewrap", {"ciphertext": ciphertext, "aad": list(aad)})
        return _wrapped(body, "rewrappedKeyVersion")

    async def look(self) -> KeyLook:
        """See `ports.Kms`. Asks for the metadata, for which the Reader role is enough."""
        token = await self._tokens.token(look=True)
        answer = await self._send("GET", "/metadata", None, token)
        if answer.status != 200:
            raise self._refusal(answer)
        try:
            key = answer.json["resources"][0]
            self._prove(key["crn"])
            state = _STATES[key["state"]]
            version = str((key.get("keyVersion") or {}).get("id", ""))
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "Key Protect's metadata has no CRN or no state") from None
        if key.get("extractable"):
            text = f"{self._named_in}: this is a standard key, which cannot wrap; name a root key (extractable: false)"
            raise Refused(Reason.KEY_NOT_ROOT, text)
        until = key.get("restoreExpirationDate") if state is KeyState.DESTROYED else key.get("expirationDate")
        return KeyLook(state, version, _date(until), asked_with=token.asked_with, unread=token.unread)

    def _prove(self, said: object) -> None:
        """Compare the CRN with the one that Key Protect names for this key: all of it.

        The key is asked for by its id and its instance. Account and region would be the word of whoever wrote the
        CRN; and what its owner allows is told by them.

        Raises:
            Refused: `CRNMismatch`.
        """
        self._proven = said == self._crn.text
        if not self._proven:
            other = said if isinstance(said, str) and re.fullmatch("[!-~]{1,256}", said) else "none that could be read"
            text = (
                f"{self._named_in}: names {self._crn.text}, and Key Protect's answer {other}: if that is the root key "
                "that you mean, name it so; else correct the endpoint or the key's id"
            )
            raise Refused(Reason.CRN_MISMATCH, text)

    async def _prove_first(self) -> None:
        """Nothing is done with a root key of which only its CRN's writer says whose it is. One look serves all who
        wait."""
        if self._proven:
            return
        if self._proof is None:
            self._proof = asyncio.create_task(self.look())
            self._proof.add_done_callback(self._proof_ended)
        await asyncio.shield(self._proof)

    def _proof_ended(self, proof: asyncio.Task[KeyLook]) -> None:
        self._proof = None
        if not proof.cancelled():
            proof.exception()  # perhaps nobody waits any more

    async def _act(self, action: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        await self._prove_first()
        answer = await self._send("POST", f"/actions/{action}", body, await self._tokens.token())
        if answer.status == 200:
            return answer.json
        if answer.status in (409, 410, 422) and _code(answer) != "UNPROCESSABLE_CIPHERTEXT_ERR":
            # The status alone does not tell the state: the metadata does.
            try:
                look = await self.look()
            except Unavailable:
                # A no that nobody could explain is a no all the same.
                raise self._by_status(answer, action) from None
            raise by_state(look, action)
        raise self._refusal(answer)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, token: Token) -> Answer:
        answer = await self._once(method, path, body, token.text)
        if answer.status != 401:
            return answer
        # Also what an expired token looks like. One fresh one; a second 401 is a clear no. And so is the first where
        # no other token can be had: the one at hand is used no longer than it lives.
        try:
            fresh = await self._tokens.token(fresh=True)
        except Unavailable:
            return answer
        return await self._once(method, path, body, fresh.text)

    async def _once(self, method: str, path: str, body: dict[str, Any] | None, token: str) -> Answer:
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
            "Bluemix-Instance": self._crn.instance,
            "Correlation-Id": str(uuid.uuid4()),
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await exchange(
            self._session,
            method,
            self._url + path,
            unreachable=Reason.KEY_PROTECT_UNAVAILABLE,
            headers=headers,
            data=None if body is None else json.dumps(body),
        )

    def _by_status(self, answer: Answer, action: str) -> Refused:
        """What a refused action says by itself."""
        trace = answer.correlation_id if _plain(answer.correlation_id) else ""
        gone = answer.status == 410
        state = "was deleted" if gone else "is disabled, or its state allows no such action"
        text = f"the root key {state}: Key Protect refuses to {action} with it, and its metadata could not be read"
        return Refused(Reason.KEY_DESTROYED if gone else Reason.KEY_DISABLED, text, trace=trace)

    def _refusal(self, answer: Answer) -> Refused:
        trace = answer.correlation_id if _plain(answer.correlation_id) else ""
        if answer.status == 404:
            text = f"{self._named_in}: Key Protect does not know this key in this instance, or it was purged"
            return Refused(Reason.KEY_NOT_FOUND, text, trace=trace)
        if answer.status in (401, 403):
            text = "Key Protect refuses these credentials for this root key: grant them the role Reader on it"
            return Refused(Reason.NOT_AUTHORIZED, text, trace=trace)
        if _code(answer) == "UNPROCESSABLE_CIPHERTEXT_ERR":
            text = "the wrapped data key is not one of this root key for this instance"
            return Refused(Reason.TAMPERED, text, trace=trace)
        if _code(answer) == "KEY_ROOT_REQ_ERR":
            text = f"{self._named_in}: this is a standard key, which cannot wrap"
            return Refused(Reason.KEY_NOT_ROOT, text, trace=trace)
        text = f"Key Protect refuses with status {answer.status} {_code(answer)}"
        return Refused(Reason.NOT_AUTHORIZED, text, trace=trace)


def by_state(look: KeyLook, action: str) -> Refused | Unavailable:
    """Why a key in this state refuses an action."""
    if look.state is KeyState.ACTIVE:  # by now: it changed between the two calls
        text = f"Key Protect refused to {action} with a key that is active"
        return Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, text)
    said = key_usable(KeyStanding(look))
    return Refused(said.reason, said.message)


def _data_key(body: Any) -> DataKey:  # noqa: ANN401 -- JSON
    try:
        raw = base64.b64decode(body["plaintext"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "Key Protect answers without a data key") from None
    if len(raw) != KEY_BYTES:
        raise Refused(Reason.TAMPERED, "the wrapped data key is not one of ours: another length came back")
    return DataKey(raw)


def _wrapped(body: Any, version: str) -> WrappedKey:  # noqa: ANN401 -- JSON
    try:
        return WrappedKey(str(body["ciphertext"]), str(body[version]["id"]))
    except (KeyError, TypeError):
        raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "Key Protect answers without a wrapped key") from None


def _code(answer: Answer) -> str:
    try:
        code = answer.json["resources"][0]["reasons"][0]["code"]
    except (KeyError, IndexError, TypeError):
        return ""
    code = code.strip() if isinstance(code, str) else ""  # one printed sample has a leading space
    return code if _plain(code) else ""


def _plain(text: str) -> bool:
    return 0 < len(text) <= 64 and all(c.isalnum() or c in "_-" for c in text)


def _date(text: object) -> str:
    return text if isinstance(text, str) and len(text) <= 40 and text.isascii() else ""
