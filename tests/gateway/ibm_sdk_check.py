"""Runs inside the environment with IBM's own OpenScale SDK: uses it as its documentation says, prints what happened.

Reads one JSON object from standard input::

    {"service_url", "iam_url", "api_key", "service_instance_id", "root_keys": [crn, crn],
     "hostname", "port", "db", "username", "password", "certificate_base64"}

and prints one: what was seen, by step. What must hold whatever the answers are is asserted here; the test compares
the rest. The certificate of the gateway is trusted by REQUESTS_CA_BUNDLE.
"""

import contextlib
import io
import json
import sys
import uuid
from typing import Any

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_watson_openscale import APIClient
from ibm_watson_openscale.base_classes.watson_open_scale_v2 import (
    DatabaseConfigurationRequest,
    JsonPatchOperation,
    LocationSchemaName,
    PrimaryStorageCredentialsLong,
    UserPreferences,
)

KEY = "user_root_key_crn"
GIVEN: dict[str, Any] = json.load(sys.stdin)
seen: dict[str, Any] = {}
answers: list[str] = []
"""Everything that came back, as text: no password may be in it."""


def connect(**changes: str) -> APIClient:
    given = {**GIVEN, **changes}
    authenticator = IAMAuthenticator(given["api_key"], url=given["iam_url"])
    found = APIClient(
        authenticator=authenticator,
        service_url=given["service_url"],
        service_instance_id=given["service_instance_id"],
    )
    found.http_client.hooks["response"].append(lambda answer, **_: answers.append(str(answer.headers) + answer.text))
    return found


def refusal(call: Any, *args: Any, **named: Any) -> list[Any]:
    """The status and code that a call is refused with, and whether the error has OpenScale's shape."""
    found: ApiException | None = None
    try:
        call(*args, **named)
    except ApiException as error:
        found = error
    assert found is not None, "it was not refused"
    body = found.http_response.json()
    assert body["trace"] == found.global_transaction_id, body
    assert all(item["code"] and item["message"] for item in body["errors"]), body
    return [found.code, body["errors"][0]["code"]]


def quietly(call: Any, *args: Any, **named: Any) -> tuple[Any, str]:
    """The SDK prints as it waits: its result, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = call(*args, **named)
    answers.append(printed.getvalue())
    return found, printed.getvalue()


def configuration(**changes: Any) -> DatabaseConfigurationRequest:
    given = {name: GIVEN[name] for name in ("hostname", "port", "db", "username", "password", "certificate_base64")}
    credentials = PrimaryStorageCredentialsLong(**{**given, "ssl": True, "sslmode": "verify-full", **changes})
    return DatabaseConfigurationRequest(
        database_type="postgresql", credentials=credentials, location=LocationSchemaName(schema_name="scores")
    )


def preferences(client: APIClient) -> None:
    """Bind, look, change, release: user_root_key_crn as the SDK and as the source document spell it."""
    store = UserPreferences(client)
    first, second = GIVEN["root_keys"]
    seen["preference that is not set"] = refusal(store.get, KEY)
    seen["no preferences"] = store.list().result
    bound = store.update(KEY, {KEY: first})
    seen["bound"] = bound.get_status_code()
    assert store.get(KEY).result["value"] == first
    assert store.list().result[KEY] == first
    changed = store.update(KEY, {"value": second})
    seen["changed"] = changed.get_status_code()
    assert store.get(KEY).result["value"] == second
    seen["patched"] = store.patch([JsonPatchOperation("replace", f"/{KEY}", value=first)]).get_status_code()
    assert store.get(KEY).result["value"] == first
    instance = first.split(":key:")[0] + "::"
    seen["an instance's CRN"] = refusal(store.update, KEY, {KEY: instance})
    seen["another preference"] = refusal(store.update, "theme", {"value": "dark"})
    seen["deleted"] = store.delete(KEY).get_status_code()
    seen["preference that was deleted"] = refusal(store.get, KEY)


def data_marts(client: APIClient) -> None:
    """Add, wait, list, show, look, change, delete, wait."""
    marts = client.data_marts
    added, printed = quietly(
        marts.add,
        background_mode=False,
        name="Scores of 2026",
        description="What the models said.",
        database_configuration=configuration(),
        timeout=60,
    )
    assert "Successfully finished adding data mart" in printed, printed
    entity, mart = added.result.entity, added.result.metadata.id
    assert (entity.name, entity.description) == ("Scores of 2026", "What the models said.")
    assert entity.internal_database is False
    assert entity.status.state == "active"
    assert entity.database_configuration.database_type == "postgresql"
    assert entity.database_configuration.location.schema_name == "scores"
    secret = entity.database_configuration.credentials.secret_id
    assert secret
    assert added.result.metadata.url.endswith(f"/v2/data_marts/{mart}")
    assert added.result.metadata.created_at.tzinfo is not None
    assert [found.metadata.id for found in marts.list().result.data_marts] == [mart]
    _, table = quietly(marts.show)
    assert mart in table, table
    assert "Scores of 2026" in table, table

    renamed = marts.patch(mart, [JsonPatchOperation("replace", "/name", value="Scores")]).result
    assert renamed.entity.name == "Scores"
    assert renamed.entity.database_configuration.credentials.secret_id == secret
    place = "/database_configuration/credentials"
    password = [JsonPatchOperation("replace", f"{place}/password", value=GIVEN["password"] + "-2")]
    again = marts.patch(mart, password).result
    assert again.entity.database_configuration.credentials.secret_id != secret
    elsewhere = [JsonPatchOperation("replace", f"{place}/hostname", value="elsewhere.example.com")]
    seen["another host without the password"] = refusal(marts.patch, mart, elsewhere)
    moved = [*elsewhere, JsonPatchOperation("add", f"{place}/password", value=GIVEN["password"] + "-3")]
    seen["another host with the password"] = marts.patch(mart, moved).get_status_code()

    seen["internal database"] = refusal(marts.add, name="internal", internal_database=True)
    seen["no password"] = refusal(
        marts.add,
        name="no password",
        database_configuration=configuration(password=""),
    )
    seen["unknown data mart"] = refusal(marts.get, str(uuid.uuid4()))
    in_background = marts.add(name="In the background", database_configuration=configuration())
    seen["added in the background"] = in_background.get_status_code()
    other = in_background.result.metadata.id
    seen["two data marts"] = len(marts.list().result.data_marts)
    _, printed = quietly(marts.delete, mart, background_mode=False, timeout=60)
    assert "Successfully finished deleting data mart" in printed, printed
    seen["deleted data mart"] = refusal(marts.get, mart)
    seen["deleted in the background"] = marts.delete(other, force=True).get_status_code()
    seen["data mart"] = mart


def main() -> None:
    client, _ = quietly(connect)
    seen["plan"] = client.plan_name
    seen["monitors"] = [name for name in vars(client.monitor_definitions.MONITORS) if not name.startswith("__")]
    seen["disables TLS verification"] = client.disable_ssl_verification
    quietly(connect, service_url=GIVEN["service_url"] + "/openscale")  # as IBM's own default is written
    seen["another instance"] = _failure(service_instance_id=str(uuid.uuid4()))
    preferences(client)
    data_marts(client)
    spelt = (GIVEN["password"], json.dumps(GIVEN["password"])[1:-1])
    assert answers
    assert not [text for text in answers if any(form in text for form in spelt)]
    print(json.dumps(seen))


def _failure(**changes: str) -> str:
    try:
        quietly(connect, **changes)
    except Exception as error:  # noqa: BLE001 -- whatever the SDK makes of it
        return type(error).__name__
    return "connected"


if __name__ == "__main__":
    main()
