"""How a key looks in an answer. The only place that spells Key Protect's field names of a key."""

import base64
from typing import Any

from key_protect_emulator.clock import rfc3339
from key_protect_emulator.http.answers import media
from key_protect_emulator.keys import Key, State, Version
from key_protect_emulator.lifecycle import (
    AUTO_PURGE,
    MARK_PERIOD,
    PURGE_DELAY,
    RESTORE_PERIOD,
    SECOND_ACTION_DELAY,
)
from key_protect_emulator.world import Instance


def version_view(version: Version) -> dict[str, Any]:
    return {"id": version.id, "creationDate": rfc3339(version.created)}


def key_view(instance: Instance, key: Key, now: float, *, payload: bool = False) -> dict[str, Any]:
    view: dict[str, Any] = {
        "type": media("key"),
        "id": key.id,
        "name": key.name,
        "state": int(key.state),
        "extractable": key.extractable,
        "crn": instance.key_crn(key.id),
        "imported": key.imported,
        "keyRingID": key.ring,
        "creationDate": rfc3339(key.created),
        "createdBy": key.created_by,
        "lastUpdateDate": rfc3339(key.updated or key.created),
        "keyVersion": version_view(key.current),
        "algorithmType": "Deprecated",
        "algorithmMetadata": {"bitLength": str(len(key.current.material) * 8), "mode": "Deprecated"},
        "algorithmBitSize": len(key.current.material) * 8,
        "algorithmMode": "Deprecated",
        "dualAuthDelete": _dual_auth(key),
        "deleted": key.state is State.DESTROYED,
    }
    if key.aliases:
        view["aliases"] = list(key.aliases)
    if key.description:
        view["description"] = key.description
    if key.tags:
        view["tags"] = list(key.tags)
    if key.expires is not None:
        view["expirationDate"] = rfc3339(key.expires)
    if key.rotated is not None:
        view["lastRotateDate"] = rfc3339(key.rotated)
    if key.rotation_enabled is not None:
        view["rotation"] = {"enabled": key.rotation_enabled, "interval_month": key.rotation_months}
    if key.state is State.DESTROYED:
        view.update(_deletion(key, now))
    if payload and key.extractable and key.state is not State.DESTROYED:
        view["payload"] = base64.b64encode(key.current.material).decode()
    return view


def minimal_view(instance: Instance, key: Key) -> dict[str, Any]:
    return {"type": media("key"), "id": key.id, "crn": instance.key_crn(key.id)}


def _dual_auth(key: Key) -> dict[str, Any]:
    view: dict[str, Any] = {"enabled": key.dual_auth_delete}
    if key.dual_auth_delete:
        view["keySetForDeletion"] = key.deletion_mark is not None
        if key.deletion_mark:
            view["authExpiration"] = rfc3339(key.deletion_mark.at + MARK_PERIOD)
    return view


def _deletion(key: Key, now: float) -> dict[str, Any]:
    deleted = key.deleted or now
    return {
        "deletionDate": rfc3339(deleted),
        "deletedBy": key.deleted_by,
        "restoreExpirationDate": rfc3339(deleted + RESTORE_PERIOD),
        "restoreAllowed": SECOND_ACTION_DELAY <= now - deleted <= RESTORE_PERIOD,
        "purgeAllowed": now - deleted >= PURGE_DELAY,
        "purgeAllowedFrom": rfc3339(deleted + PURGE_DELAY),
        "purgeScheduledOn": rfc3339(deleted + AUTO_PURGE),
    }
