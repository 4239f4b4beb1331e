"""Dataclasses to JSON and back, by their type hints. Nothing in it knows what a key is."""

import base64
import types
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: object) -> object:
    """A JSON-able copy of a value made of dataclasses, lists, dicts, enums, bytes and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(type_: type[T], raw: object) -> T:
    """The value that `encode` made `raw` of. Fields that are missing get their defaults."""
    return cast("T", _decode(type_, raw))


def _decode(type_: Any, raw: Any) -> Any:  # noqa: ANN401 -- type hints and JSON are of any type
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        if raw is None:
            return None
        (inner,) = [arg for arg in get_args(type_) if arg is not type(None)]
        return _decode(inner, raw)
    if origin is list:
        (item_type,) = get_args(type_)
        return [_decode(item_type, item) for item in raw]
    if origin is dict:
        _, value_type = get_args(type_)
        return {key: _decode(value_type, item) for key, item in raw.items()}
    if isinstance(type_, type) and is_dataclass(type_):
        hints = _hints(type_)
        known = {name: _decode(hints[name], item) for name, item in raw.items() if name in hints}
        return cast("Any", type_)(**known)
    if type_ is bytes:
        return base64.b64decode(raw)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return type_(raw)
    return raw


@cache
def _hints(type_: type) -> dict[str, Any]:
    return get_type_hints(type_)
