"""Run by IBM's own client in its own environment: what IBM's suite does not look at. Prints JSON.

Arguments: the emulator's control URL, the trusted profile's id, the file with a service account's token.
"""

import base64
import io
import json
import sys
import urllib.request

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import ContainerAuthenticator, IAMAuthenticator
from keyprotect.ibm_key_protect_api_v2 import IbmKeyProtectApiV2

CONTROL, PROFILE, TOKEN_FILE = sys.argv[1:]
DEK = base64.b64encode(bytes(range(32))).decode()


def control(method, path, body=None):
    raw = json.dumps(body).encode() if body else None
    request = urllib.request.Request(CONTROL + "/emulator" + path, raw, method=method)  # noqa: S310 -- the emulator's
    with urllib.request.urlopen(request) as answer:  # noqa: S310 -- the URL is the emulator's
        return json.load(answer)


def body(fields):
    return io.BytesIO(json.dumps(fields).encode())


def code_of(call, **arguments):
    try:
        call(bluemix_instance=INSTANCE, **arguments)
    except ApiException as error:
        reasons = error.http_response.json()["resources"][0].get("reasons", [{"code": ""}])
        return [error.status_code, reasons[0]["code"]]
    return [0, ""]


READY = control("GET", "/ready")
INSTANCE = READY["instance"]
client = IbmKeyProtectApiV2(IAMAuthenticator(READY["api_key"], url=READY["iam_url"]))
client.set_service_url(READY["url"])

resource = {"name": "checked-key", "type": "application/vnd.ibm.kms.key+json", "extractable": False}
created = client.create_key(
    bluemix_instance=INSTANCE,
    key_create_body=body({"metadata": {"collectionTotal": 1}, "resources": [resource]}),
)
key = created.get_result().json()["resources"][0]["id"]
on_key = {"id": key, "bluemix_instance": INSTANCE}
wrapped = (
    client.wrap_key(**on_key, key_action_wrap_body=body({"plaintext": DEK, "aad": ["a", "b"]})).get_result().json()
)
sent = {"ciphertext": wrapped["ciphertext"], "aad": ["a", "b"]}
opened = client.unwrap_key(**on_key, key_action_unwrap_body=body(sent)).get_result().json()
client.rotate_key(**on_key, key_action_rotate_body=body({}))
rotated = client.unwrap_key(**on_key, key_action_unwrap_body=body(sent)).get_result().json()
rewrapped = client.rewrap_key(**on_key, key_action_rewrap_body=body(sent)).get_result().json()
again = {"ciphertext": rewrapped["ciphertext"], "aad": ["a", "b"]}
newest = client.unwrap_key(**on_key, key_action_unwrap_body=body(again)).get_result().json()
wrong_aad = code_of(client.unwrap_key, id=key, key_action_unwrap_body=body({**sent, "aad": ["b", "a"]}))

# What IBM's suite skips: dual authorization, purge, the port of an allowedIP policy.
port = client.get_allowed_ip_port(bluemix_instance=INSTANCE).get_status_code()
not_dual = code_of(client.set_key_for_deletion, id=key)
policy = {"type": "application/vnd.ibm.kms.policy+json", "dualAuthDelete": {"enabled": True}}
metadata = {"collectionType": "application/vnd.ibm.kms.policy+json", "collectionTotal": 1}
put = {"metadata": metadata, "resources": [policy]}
client.put_policy(**on_key, key_policy_put_body=put, policy="dualAuthDelete")
marked = client.set_key_for_deletion(**on_key).get_status_code()
unmarked = client.unset_key_for_deletion(**on_key).get_status_code()
put["resources"][0]["dualAuthDelete"]["enabled"] = False
client.put_policy(**on_key, key_policy_put_body=put, policy="dualAuthDelete")
client.delete_key(**on_key)
early = code_of(client.purge_key, id=key)
control("POST", "/clock", {"advance_seconds": 4 * 3600})
client = IbmKeyProtectApiV2(IAMAuthenticator(READY["api_key"], url=READY["iam_url"]))
client.set_service_url(READY["url"])
purged = client.purge_key(**on_key, prefer="return=representation").get_status_code()
gone = code_of(client.get_key_metadata, id=key)

# A service account's token instead of an API key.
profile = IbmKeyProtectApiV2(
    ContainerAuthenticator(cr_token_filename=TOKEN_FILE, iam_profile_id=PROFILE, url=READY["iam_url"])
)
profile.set_service_url(READY["url"])
listed = profile.get_keys(bluemix_instance=INSTANCE).get_status_code()

print(
    json.dumps(
        {
            "unwrap returns the plaintext": opened["plaintext"] == DEK and "ciphertext" not in opened,
            "unwrap after rotate returns a new ciphertext": rotated["plaintext"] == DEK
            and rotated["rewrappedKeyVersion"] != rotated["keyVersion"] == wrapped["keyVersion"],
            "rewrap does not disclose": "plaintext" not in rewrapped,
            "rewrapped opens under the newest version": newest
            == {"plaintext": DEK, "keyVersion": rewrapped["rewrappedKeyVersion"]},
            "wrong aad": wrong_aad,
            "allowed_ip_port": port,
            "not dual": not_dual,
            "set and unset for deletion": [marked, unmarked],
            "early purge": early,
            "purge": purged,
            "purged key": gone,
            "trusted profile lists": listed,
        }
    )
)
