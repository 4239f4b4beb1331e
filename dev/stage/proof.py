"""Opens every envelope without the operator's code: what is stored, the root keys, and a foreign JOSE library.

Nothing of `openscale_byok` is imported here. A proof that used the code that it proves would prove less.
"""

import base64
import hashlib
import hmac
import json
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jwcrypto import jwe, jwk

Object = Mapping[str, Any]


@dataclass(slots=True)
class Proof:
    """What was opened, and what was not."""

    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    failures: list[str] = field(default_factory=list)
    root_keys: set[str] = field(default_factory=set)

    @property
    def holds(self) -> bool:
        """Whether everything opened."""
        return not self.failures


class Opener:
    """Opens data marts' passwords as whoever holds the root keys could.

    Args:
        key_protect: base URL of Key Protect.
        token: an IAM access token that may unwrap.
        global_key: the global key's Secret, values decoded.
    """

    def __init__(self, key_protect: str, token: str, global_key: Mapping[str, bytes]) -> None:
        self._url = key_protect
        self._token = token
        self._global = global_key
        self._unwrapped: dict[str, bytes] = {}

    @property
    def data_keys(self) -> Sequence[bytes]:
        """Every data key that was unwrapped so far: what must be found nowhere."""
        return list(self._unwrapped.values())

    def open_all(self, instance: Object, marts: Sequence[Object]) -> Proof:
        """Open the password of each data mart with the data keys that the instance's properties record."""
        proof = Proof()
        properties = instance["status"].get("properties", {})
        recorded = {entry["id"]: entry for entry in properties.get("dataKeys", [])}
        for mart in marts:
            name = mart["metadata"]["name"]
            try:
                proof.passwords[name], root_key = self._open(instance, mart, recorded)
                proof.root_keys.add(root_key)
            except Exception as error:  # noqa: BLE001 -- whatever it is, this one did not open
                proof.failures.append(f"{name}: {type(error).__name__}: {error}")
        return proof

    def _open(self, instance: Object, mart: Object, recorded: Mapping[str, Object]) -> tuple[str, str]:
        text = mart["status"]["sealedPassword"]["envelope"]
        header = json.loads(_decode(text.split(".")[0]))
        entry = recorded.get(header["kid"])
        if entry is None:
            raise ValueError("names a data key that is recorded nowhere")
        at = mart["spec"]["database"]
        expected = {
            "instance": instance["spec"]["serviceInstanceId"],
            "kind": "DataMart",
            "namespace": mart["metadata"]["namespace"],
            "name": mart["metadata"]["name"],
            "field": "spec.database.password",
            "endpoint": {
                "type": at["type"], "host": at["host"], "port": at["port"],
                "database": at["name"], "username": at["username"],
            },
        }  # fmt: skip
        if header["typ"] != "openscale-byok.v1":  # which bound it to no proof
            expected["proof"] = {"tls": at["tls"], "ca": _certificates(at.get("caBundle", ""))}
        if header["ctx"] != expected:
            raise ValueError("was sealed for another object or endpoint")
        key = self._data_key(entry, instance["spec"]["serviceInstanceId"])
        return _jwe(text, key, header).decode(), entry["rootKey"]

    def _data_key(self, entry: Object, service_instance_id: str) -> bytes:
        found = self._unwrapped.get(entry["wrapped"])
        if found is None:
            aad = ["openscale-byok", service_instance_id]
            crn, _, ciphertext = entry["wrapped"].partition("#")
            if entry["rootKey"] == "global" and ciphertext:  # the owner's key in Key Protect is the global key
                found = self._unwrap(crn, ciphertext, aad)
            elif entry["rootKey"] == "global":
                header = json.loads(_decode(entry["wrapped"].split(".")[0]))
                if header["aad"] != aad:
                    raise ValueError("the data key was wrapped for another instance")
                found = _jwe(entry["wrapped"], self._global[header["kid"]], header)
            else:
                found = self._unwrap(entry["rootKey"], entry["wrapped"], aad)
            if not hmac.compare_digest(_commitment(found), entry["id"]):
                raise ValueError("the data key's id does not commit to it")
            self._unwrapped[entry["wrapped"]] = found
        return found

    def _unwrap(self, crn: str, ciphertext: str, aad: Sequence[str]) -> bytes:
        parts = crn.split(":", 9)
        request = urllib.request.Request(  # noqa: S310 -- the emulator's own URL
            f"{self._url}/api/v2/keys/{parts[9]}/actions/unwrap",
            data=json.dumps({"ciphertext": ciphertext, "aad": list(aad)}).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Bluemix-Instance": parts[7]},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- the emulator's own URL
            return base64.b64decode(json.load(answer)["plaintext"])


def _jwe(text: str, key: bytes, header: Object) -> bytes:
    token = jwe.JWE()
    token.allowed_algs = ["dir", "A256GCM"]
    token.deserialize(text, key=jwk.JWK(kty="oct", k=base64.urlsafe_b64encode(key).rstrip(b"=").decode()))
    if json.loads(token.objects["protected"]) != header:
        raise ValueError("its header is not the one that was authenticated")
    return bytes(token.payload)


def _certificates(pem: str) -> str:
    """The digest of a caBundle: SHA-256 of the sorted SHA-256 digests of its certificates."""
    blocks = re.findall("-----BEGIN CERTIFICATE-----(.+?)-----END", pem, re.DOTALL)
    each = sorted({hashlib.sha256(base64.b64decode(block)).digest() for block in blocks})
    return base64.urlsafe_b64encode(hashlib.sha256(b"".join(each)).digest()).rstrip(b"=").decode() if each else ""


def _commitment(key: bytes) -> str:
    """HKDF-SHA256 (RFC 5869) with an empty salt, 32 bytes, from the hash alone."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    expanded = hmac.digest(extracted, b"openscale-byok data key commitment v1\x01", hashlib.sha256)
    return base64.urlsafe_b64encode(expanded).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
