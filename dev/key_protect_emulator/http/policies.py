"""PUT and GET of key policies and instance policies."""

from dataclasses import replace
from typing import Any

from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped, media
from key_protect_emulator.http.call import Call
from key_protect_emulator.keys import Action, Key, require
from key_protect_emulator.policies import (
    INSTANCE_POLICIES,
    KEY_POLICIES,
    instance_policy,
    set_dual_auth,
    set_rotation,
    stamp,
)

_SETTERS = {"dualAuthDelete": set_dual_auth, "rotation": set_rotation}


def get_key_policies(call: Call) -> Answer:
    wanted = _wanted(call, KEY_POLICIES)
    return enveloped("policy", _key_views(call, wanted))


def put_key_policies(call: Call) -> Answer:
    wanted = _wanted(call, KEY_POLICIES)
    resources = call.resources(most=len(KEY_POLICIES))
    require(call.key, Action.PATCH)
    given = [
        (name, resource[name]) for resource in resources for name in KEY_POLICIES if resource.get(name) is not None
    ]
    if not given:
        raise refusal("BAD_BODY_ERR")
    if {name for name, _ in given} - set(wanted):
        raise refusal("BODY_QUERY_PARAM_MISMATCH_ERR")
    draft = replace(call.key, policies=dict(call.key.policies))
    for name, policy in given:
        _SETTERS[name](draft, policy, call.now)
        stamp(draft, name, call.caller.iam_id)
    vars(call.key).update(vars(draft))  # all of them, or none
    return enveloped("policy", _key_views(call, tuple(name for name, _ in given)))


def _key_views(call: Call, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    key = call.key
    views: list[dict[str, Any]] = []
    if "dualAuthDelete" in wanted and (key.dual_auth_delete or "dualAuthDelete" in key.policies):
        views.append(_view(call, key, "dualAuthDelete", {"enabled": key.dual_auth_delete}))
    if "rotation" in wanted and key.rotation_enabled is not None:
        body = {"enabled": key.rotation_enabled, "interval_month": key.rotation_months}
        views.append(_view(call, key, "rotation", body))
    return views


def _view(call: Call, key: Key, name: str, body: dict[str, Any]) -> dict[str, Any]:
    by = key.policies.get(name, {}).get("by", key.created_by)
    return {
        "type": media("policy"),
        "id": f"{key.id}:{name}",
        "crn": f"{call.instance.crn.removesuffix('::')}:policy:{key.id}:{name}",
        "createdBy": by,
        "creationDate": rfc3339(key.created),
        "updatedBy": by,
        "lastUpdateDate": rfc3339(key.updated),
        name: body,
    }


def get_instance_policies(call: Call) -> Answer:
    views = [
        {
            "policy_type": name,
            "policy_data": {
                "enabled": policy.enabled,
                **({"attributes": policy.attributes} if policy.attributes else {}),
            },
            "creationDate": rfc3339(policy.created),
            "createdBy": policy.created_by,
            "lastUpdated": rfc3339(policy.updated),
            "updatedBy": policy.updated_by,
        }
        for name, policy in sorted(call.instance.policies.items())
        if name in _wanted(call, tuple(INSTANCE_POLICIES))
    ]
    return enveloped("policy", views)


def put_instance_policies(call: Call) -> Answer:
    wanted = _wanted(call, tuple(INSTANCE_POLICIES))
    resources = call.resources(most=1 if "policy" in call.query else len(INSTANCE_POLICIES))
    kinds = [resource.get("policy_type") for resource in resources]
    if len(set(map(str, kinds))) != len(kinds):
        raise refusal("BAD_BODY_ERR")
    if "policy" in call.query and kinds[0] not in wanted:
        raise refusal("BODY_QUERY_PARAM_MISMATCH_ERR")
    # All of them, or none: a refusal of the last one comes before the first is set.
    call.instance.policies |= dict(instance_policy(call.instance, r, call.caller.iam_id, call.now) for r in resources)
    return empty()


def _wanted(call: Call, known: tuple[str, ...]) -> tuple[str, ...]:
    name = call.query.get("policy")
    if name is None:
        return known
    if name not in known:
        raise refusal("INVALID_QUERY_PARAM_ERR", f"{name} is no policy", parameter="policy")
    return (name,)
