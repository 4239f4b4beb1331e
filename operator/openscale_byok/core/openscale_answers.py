"""A DataMart as OpenScale's API shows it. A password never comes back, only the id of what is sealed."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from openscale_byok.core.openscale_configuration import TYPES
from openscale_byok.resources import Condition, DataMart, SealedPassword

_ID_CHARACTERS = 32


def data_mart(mart: DataMart, base: str, trace: str) -> dict[str, Any]:
    """One data mart.

    Args:
        mart: as it was read.
        base: path of the instance's API, up to and without ``/v2``. No host: the caller knows it, and a header that
            names one could be anybody's.
        trace: of the request, which OpenScale wants beside a failure.
    """
    meta, at = mart.metadata, mart.spec.database
    configuration = {
        "database_type": next(name for name, type_ in TYPES.items() if type_ == at.type),
        "credentials": {"secret_id": secret_id(mart.status.sealed_password)},
        "location": {"schema_name": at.schema_},
    }
    return {
        "metadata": {
            "id": meta.name,
            "url": f"{base}/v2/data_marts/{meta.name}",
            "created_at": meta.creation_timestamp,
            "modified_at": _modified(mart),
        },
        "entity": {
            "name": mart.spec.display_name or meta.name,
            "description": mart.spec.description or "",
            "internal_database": False,
            "database_configuration": configuration,
            "database_discovery": "manual",
            "status": _status(mart, trace),
        },
    }


def data_marts(marts: Iterable[DataMart], base: str, trace: str) -> dict[str, Any]:
    """All data marts of an instance, in the order of their ids."""
    ordered = sorted(marts, key=lambda mart: mart.metadata.name)
    return {"data_marts": [data_mart(mart, base, trace) for mart in ordered]}


def secret_id(sealed: SealedPassword | None) -> str:
    """An id of what is sealed, which tells nothing of it, and is another after each seal; empty where nothing is."""
    if sealed is None:
        return ""
    return hashlib.sha256(sealed.envelope.encode()).hexdigest()[:_ID_CHARACTERS]


def _modified(mart: DataMart) -> str:
    sealed = mart.status.sealed_password
    times = [found.last_transition_time for found in mart.status.conditions]
    return max([mart.metadata.creation_timestamp, *times, *([sealed.sealed_time] if sealed else [])])


def _status(mart: DataMart, trace: str) -> Mapping[str, Any]:
    """The state in OpenScale's words: what waits or moves by itself is ``preparing``, what needs a person ``error``."""
    found = {condition.type: condition for condition in mart.status.conditions}
    ready, stalled = found.get("Ready"), found.get("Stalled")
    if mart.metadata.deleting:
        return {"state": "deleting"}
    if mart.status.observed_generation != mart.metadata.generation:
        return {"state": "preparing"}  # what the conditions say is about a former spec
    if stalled is not None and stalled.status == "True":
        return {"state": "error", "failure": {"trace": trace, "errors": [_error(stalled)]}}
    return {"state": "active" if ready is not None and ready.status == "True" else "preparing"}


def _error(condition: Condition) -> dict[str, str]:
    return {"code": condition.reason, "message": condition.message}
