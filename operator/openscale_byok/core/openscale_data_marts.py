"""A data mart as OpenScale's API makes and changes it: what a POST asks for, and what a PATCH makes of what is there.

A password goes only to the endpoint that it was given for, proven as it was given for: whoever names another endpoint,
or has it prove less, has to know the password.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from openscale_byok.core import json_patch
from openscale_byok.core.departures import proof_by, proof_of
from openscale_byok.core.openscale_configuration import CONFIGURATION, CREDENTIALS, NAMES, document, read
from openscale_byok.core.preferences import invalid, managed_by_gateway
from openscale_byok.core.sealable import from_datamart
from openscale_byok.crypto.context import lowered
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart

_ENDPOINT: Final = {"type": "type", "host": "host", "port": "port", "name": "database", "username": "username"}
"""Fields of a spec, and what an envelope calls them."""
_PASSWORD: Final = ("database_configuration", "credentials", "password")


@dataclass(frozen=True, slots=True)
class New:
    """A data mart to make."""

    spec: Mapping[str, Any]
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a data mart."""

    spec: Mapping[str, Any]
    """A merge patch of its spec; empty where that stays."""
    password: bytes | None = field(repr=False)
    """To be sealed in place of the former one, once the spec is changed; None where that stays."""


def new(body: object, instance: str, service_instance_id: str) -> New:
    """What a POST asks for.

    Args:
        body: JSON, as it was parsed.
        instance: name of the OpenScaleInstance that it is for.
        service_instance_id: of that instance.

    Raises:
        Refused: `InvalidRequest`, with the field and the cure; never with a value.
    """
    spec, password = read(body, service_instance_id)
    if password is None:
        raise invalid(f"{CREDENTIALS}.password: is missing; give the password of {CREDENTIALS}.username")
    return New({"instanceRef": {"name": instance}, **spec}, password)


def changed(mart: DataMart, body: object, service_instance_id: str) -> Change:
    """What a PATCH (RFC 6902) asks for. Its paths are those of the body of a POST.

    Raises:
        Refused: `InvalidRequest`: no such patch, or what it makes is no data mart, or another endpoint without the
            password; `Conflict`: a test failed; `NotOurs`: it is kept somewhere else.
    """
    patch = json_patch.operations(body)
    for operation in patch:
        if operation.path == _PASSWORD and operation.op in ("remove", "test"):
            raise invalid(f"{operation.where}: a password can only be given anew; use op replace")
    wanted, password = read(json_patch.patched(document(mart), patch), service_instance_id)
    before = mart.spec.dump()
    after = {"instanceRef": before["instanceRef"], **wanted}
    after["database"] = {**wanted["database"], "password": before["database"]["password"]}
    after["deletionProtection"] = before["deletionProtection"]  # not in the API's words: as it was
    for name, shown in (("displayName", mart.metadata.name), ("description", "")):
        if name not in before and after.get(name) == shown:
            del after[name]  # only shown, never set
    change = _difference(before, after)
    _expect_kept_here(mart, change, password)
    if password is None:
        _expect_kept(mart, after["database"], service_instance_id)
    return Change(change, password)


def expect_ours(mart: DataMart) -> None:
    """Expect that the gateway made it, before it is changed or deleted.

    Raises:
        Refused: `NotOurs`, and where to change it.
    """
    if not managed_by_gateway(mart):
        raise Refused(
            Reason.NOT_OURS,
            f"DataMart {mart.metadata.name} was not made by this API: change or delete it where it is kept "
            "(kubectl, Git)",
        )


def expect_deletable(mart: DataMart) -> None:
    """Expect that the gateway made it, and that its owner does not protect it. Admission would refuse, without a word.

    Raises:
        Refused: `NotOurs`, `DeletionProtected`.
    """
    expect_ours(mart)
    if mart.spec.deletion_protection:
        raise Refused(
            Reason.DELETION_PROTECTED,
            f"DataMart {mart.metadata.name} is protected from deletion: its sealed password may be the only copy; to "
            "have it gone, set spec.deletionProtection to false first (kubectl)",
        )


def object_name(display_name: str | None, suffix: str) -> str:
    """A name for a new DataMart: a DNS label that reads like its display name.

    Args:
        display_name: what people call it.
        suffix: random, of lower-case letters and digits; what makes it differ from every other.
    """
    plain = unicodedata.normalize("NFKD", (display_name or "").casefold()).encode("ascii", "ignore").decode()
    words = re.sub("[^a-z0-9]+", "-", plain).strip("-")[: 62 - len(suffix)].rstrip("-")
    return f"{words or 'data-mart'}-{suffix}"


def _expect_kept(mart: DataMart, after: Mapping[str, Any], service_instance_id: str) -> None:
    """Expect that a change leads the password nowhere but where it was given for, and as it was given for."""
    before, sealable = mart.spec.database.dump(), from_datamart(mart, service_instance_id)
    given = sealable.given_for or sealable.context
    cure = f"give {CREDENTIALS}.password in the same patch"
    for name, called in _ENDPOINT.items():
        if after[name] not in (before[name], getattr(given.endpoint, called)):
            field = NAMES[f"database.{name}"]
            raise invalid(f"{field}: a password goes only to the endpoint that it was given for; {cure}")
    proof = proof_by(after["tls"], after.get("caBundle"))
    less = None if given.proof is None or proof == proof_of(mart) else lowered(given.proof, proof)
    if less is not None:
        field = NAMES[f"database.{less}"]
        raise invalid(f"{field}: a password goes only to a server that is proven as when it was given; {cure}")


def _expect_kept_here(mart: DataMart, change: Mapping[str, Any], password: bytes | None) -> None:
    source = mart.spec.database.password.secret_ref
    if password is not None and source is not None:
        raise Refused(
            Reason.NOT_OURS,
            f"{CREDENTIALS}.password: DataMart {mart.metadata.name} reads its password from Secret {source.name}: "
            "change it there",
        )
    if source is not None and set(change.get("database", ())) - {"schema"}:
        # The caller was not asked whether they may read that Secret; the gateway may, and so names none for anybody.
        raise Refused(
            Reason.NOT_OURS,
            f"DataMart {mart.metadata.name} reads its password from Secret {source.name}, which goes where "
            f"{CONFIGURATION} says: change that where it is kept (kubectl, Git)",
        )
    if change:
        expect_ours(mart)


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7386) that makes the one of the other."""
    found: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = _difference(old, value)
            found |= {name: inner} if inner else {}
        elif value != old:
            found[name] = value
    return found
