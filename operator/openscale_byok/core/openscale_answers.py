"""A DataMart as OpenScale's API shows it. A password never comes back, only the id of what is sealed."""

from collections.abc import Mapping
from typing import Any

from openscale_byok.core.openscale_configuration import TYPES
from openscale_byok.core.sealable import Sealable
from openscale_byok.resources import Condition

_NAMES = {type_: name for name, type_ in TYPES.items()}


def data_mart(mart: Sealable, base: str, trace: str) -> dict[str, Any]:
    """One data mart.

    Args:
        mart: as it was read.
        base: path of the instance's API, up to and without ``/v2``. No host: the caller knows it, and a header that
            names one could be anybody's.
        trace: of the request, which OpenScale wants beside a failure.
    """
    meta, shown = mart.meta, mart.shown
    configuration = {
        "database_type": _NAMES[mart.context.endpoint.type],
        "credentials": {"secret_id": shown.secret_id},
        "location": {"schema_name": mart.manner.schema},
    }
    return {
        "metadata": {
            "id": meta.name,
            "url": f"{base}/v2/data_marts/{meta.name}",
            "created_at": meta.creation_timestamp,
            "modified_at": _modified(mart),
        },
        "entity": {
            "name": shown.display_name or meta.name,
            "description": shown.description or "",
            "internal_database": False,
            "database_configuration": configuration,
            "database_discovery": "manual",
            "status": _status(mart, trace),
        },
    }


def _modified(mart: Sealable) -> str:
    times = [found.last_transition_time for found in mart.conditions]
    return max([mart.meta.creation_timestamp, mart.shown.sealed_time, *times])


def _status(mart: Sealable, trace: str) -> Mapping[str, Any]:
    """The state in OpenScale's words: what waits or moves by itself is ``preparing``, what needs a person ``error``."""
    if mart.meta.deleting:
        return {"state": "deleting"}
    if mart.observed_generation != mart.meta.generation:
        return {"state": "preparing"}  # what the conditions say is about a former spec
    stalled = mart.condition("Stalled")
    if stalled is not None and stalled.status == "True":
        return {"state": "error", "failure": {"trace": trace, "errors": [_error(stalled)]}}
    return {"state": "active" if mart.ready else "preparing"}


def _error(condition: Condition) -> dict[str, str]:
    return {"code": condition.reason, "message": condition.message}
