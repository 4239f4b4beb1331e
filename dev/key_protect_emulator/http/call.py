"""One authorized call of Key Protect: what a handler gets to see, and strict reading of its body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from key_protect_emulator.errors import refusal
from key_protect_emulator.http.body import decoded
from key_protect_emulator.iam import Caller
from key_protect_emulator.keys import Key
from key_protect_emulator.world import Instance

DIGITS: Final = 10  # of the longest number that a query may hold


@dataclass(frozen=True)
class Call:
    instance: Instance
    caller: Caller
    now: float
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    sees_all_keys: bool = True
    addressed: Key | None = None

    @property
    def key(self) -> Key:
        if self.addressed is None:
            raise refusal("KEY_NOT_FOUND_ERR")
        return self.addressed

    @property
    def ring(self) -> str | None:
        return self.headers.get("X-Kms-Key-Ring") or None

    def prefers_minimal(self, *, default: bool) -> bool:
        prefer = self.headers.get("Prefer", "").replace(" ", "").lower()
        if "return=minimal" in prefer:
            return True
        return False if "return=representation" in prefer else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.query.get(name)
        if value is None:
            return default
        if value.lower() not in {"true", "false"}:
            raise refusal("INVALID_QUERY_PARAM_ERR", f"{name} must be true or false", parameter=name)
        return value.lower() == "true"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.query.get(name)
        if value is None:
            return default
        # Python refuses to read a number of thousands of digits; so the length is looked at first.
        if value.isascii() and value.isdigit() and len(value) <= DIGITS and low <= int(value) <= high:
            return int(value)
        raise refusal("INVALID_QUERY_PARAM_ERR", f"{name} must be from {low} to {high}", parameter=name)

    def json(self, *, required: bool = False) -> dict[str, Any]:
        """The body as an object, whatever its content type; no body, or null, is {} unless required.

        IBM's Go client sends `null` where it has nothing to say: on rotate, disable and enable.
        """
        try:
            body = decoded(self.body) if self.body.strip() else None
        except (ValueError, RecursionError) as error:
            raise refusal("BAD_BODY_ERR") from error
        if body is None:
            if required:
                raise refusal("NO_BODY_ERR")
            return {}
        if not isinstance(body, dict):
            raise refusal("BAD_BODY_ERR")
        return body

    def resources(self, *, most: int = 1) -> list[dict[str, Any]]:
        """The resources of an enveloped body, with its collectionTotal checked."""
        body = self.json(required=True)
        resources, metadata = body.get("resources"), body.get("metadata")
        if not isinstance(resources, list) or not isinstance(metadata, dict) or not resources:
            raise refusal("BAD_BODY_ERR")
        if not all(isinstance(item, dict) for item in resources):
            raise refusal("BAD_BODY_ERR")
        total = metadata.get("collectionTotal")
        if type(total) is not int or total != len(resources):
            raise refusal("COLLECTION_TOTAL_MISMATCH_ERR")
        if len(resources) > most:
            raise refusal("NUM_COLLECTION_RESOURCE_ERR")
        return resources


def text(fields: Mapping[str, Any], name: str, *, low: int = 0, high: int = 10_000) -> str | None:
    """A string field within its bounds, or None if it is absent."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not low <= len(value) <= high:
        raise refusal("INVALID_FIELD_ERR", f"{name} must be a string of {low} to {high} characters", field=name)
    return value


def boolean(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise refusal("INVALID_FIELD_ERR", f"{name} must be true or false", field=name)
    return value
