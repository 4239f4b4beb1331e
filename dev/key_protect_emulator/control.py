"""Start, steer and question the emulator from Python. Synchronous, so that tests of any colour can use it.

    with Emulator.start() as emulator:
        crn = emulator.create_root_key(emulator.instance, "customer-key")
        emulator.fault("unwrap", status=503, times=2)
        ...
        assert emulator.counts()["unwrap"] == 3

The emulator runs in a process of its own and ends with the starter, even if that is killed.
"""

import base64
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from key_protect_emulator.process import kill, start, stop
from key_protect_emulator.wire import EmulatorError, Instance, Ready, grant_body, key_id, request

APIKEY = "urn:ibm:params:oauth:grant-type:apikey"

__all__ = ["Emulator", "EmulatorError", "Instance", "Ready"]


class Emulator:
    """One running emulator. Use `Emulator.start()`, or `Emulator.connect(url)` for one that runs already."""

    def __init__(self, ready: Ready, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._ready, self._process = ready, process

    # -- life ------------------------------------------------------------------------------------

    @classmethod
    def start(cls, state: Path | None = None, *, port: int = 0, ready_file: Path | None = None) -> Self:
        """Start a process; it ends with `stop()`, at the end of `with`, or when this process dies."""
        options = ["--port", str(port)]
        options += ["--state", str(state)] if state else []
        options += ["--ready-file", str(ready_file)] if ready_file else []
        process, line = start(options)
        return cls(Ready(**json.loads(line)), process)

    @classmethod
    def connect(cls, url: str) -> Self:
        """Steer an emulator that somebody else started; `stop()` then leaves it running."""
        body = request(url, "GET", "/emulator/ready")
        return cls(Ready(**{**body, "url": url.rstrip("/"), "iam_url": url.rstrip("/")}))

    def stop(self) -> None:
        """End it gracefully. What was acknowledged is in the state file."""
        if self._process is not None:
            stop(self._process)

    def kill(self) -> None:
        """kill -9: what a crash leaves is what the state file holds."""
        if self._process is not None:
            kill(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- where -----------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self._ready.url

    @property
    def iam_url(self) -> str:
        return self._ready.iam_url

    @property
    def account(self) -> str:
        return self._ready.account

    @property
    def instance(self) -> Instance:
        """The instance that the first start made."""
        return Instance(
            self._ready.instance,
            self._ready.instance_crn,
            self.account,
            self._ready.instance_crn.split(":")[5],
        )

    @property
    def api_key(self) -> str:
        """The admin's API key: Manager and KeyPurge on every instance of the first account."""
        return self._ready.api_key

    @property
    def service_id(self) -> str:
        return self._ready.service_id

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    # -- instances and keys ----------------------------------------------------------------------

    def create_account(self, name: str = "") -> str:
        return str(self._post("/accounts", {"name": name})["id"])

    def create_instance(self, account: str | None = None, *, name: str = "", region: str = "us-south") -> Instance:
        return Instance(**self._post("/instances", {"account": account, "name": name, "region": region}))

    def create_root_key(
        self,
        instance: Instance | str | None = None,
        name: str = "root-key",
        *,
        extractable: bool = False,
        payload: bytes | None = None,
        ring: str | None = None,
        aliases: list[str] | None = None,
        expiration: str | None = None,
    ) -> str:
        """Create a key and return its CRN. `payload` imports material; `expiration` is RFC 3339."""
        body: dict[str, Any] = {
            "instance": instance.id if isinstance(instance, Instance) else instance,
            "name": name,
            "extractable": extractable,
            "ring": ring,
            "aliases": aliases or [],
            "expirationDate": expiration,
            "payload": base64.b64encode(payload).decode() if payload is not None else None,
        }
        return str(self._post("/keys", body)["crn"])

    def key(self, crn: str) -> dict[str, Any]:
        """Everything about a key but its material: state, versions, dates."""
        return self._call("GET", f"/keys/{key_id(crn)}")

    def rotate(self, crn: str, *, payload: bytes | None = None, ignore_timing: bool = False) -> str:
        """Rotate and return the new version's id."""
        encoded = base64.b64encode(payload).decode() if payload is not None else None
        answer = self._post(f"/keys/{key_id(crn)}/rotate", {"payload": encoded, "ignore_timing": ignore_timing})
        return str(answer["version"])

    def disable(self, crn: str) -> None:
        self._post(f"/keys/{key_id(crn)}/disable", {})

    def enable(self, crn: str, *, ignore_timing: bool = False) -> None:
        self._post(f"/keys/{key_id(crn)}/enable", {"ignore_timing": ignore_timing})

    def delete(self, crn: str) -> None:
        self._post(f"/keys/{key_id(crn)}/delete", {})

    def restore(self, crn: str, *, ignore_timing: bool = False) -> None:
        self._post(f"/keys/{key_id(crn)}/restore", {"ignore_timing": ignore_timing})

    def purge(self, crn: str, *, ignore_timing: bool = False) -> None:
        self._post(f"/keys/{key_id(crn)}/purge", {"ignore_timing": ignore_timing})

    def create_kmip_object(self, instance: Instance | str, adapter: str, *, state: int = 2) -> str:
        """What a KMIP client would make under an adapter (its id or name); returns its id. State 2 is active."""
        where = instance.id if isinstance(instance, Instance) else instance
        return str(self._post("/kmip-objects", {"instance": where, "adapter": adapter, "state": state})["id"])

    # -- identities ------------------------------------------------------------------------------

    def create_service_id(self, account: str | None = None, *, name: str = "service") -> str:
        return str(self._post("/service-ids", {"account": account, "name": name})["id"])

    def delete_service_id(self, service_id: str) -> None:
        self._call("DELETE", f"/service-ids/{service_id}")

    def create_api_key(self, service_id: str) -> str:
        return str(self._post(f"/service-ids/{service_id}/api-keys", {})["api_key"])

    def delete_api_key(self, api_key: str) -> None:
        """No new tokens for it; tokens that were issued stay valid until they expire."""
        self._call("DELETE", "/api-keys", {"api_key": api_key})

    def grant(
        self,
        service_id: str,
        instance: Instance | str | None = None,
        key: str | None = None,
        role: str = "Reader",
    ) -> None:
        """Give a role on an instance, on one key of it (CRN or id), or without instance on the account."""
        self._post("/grants", grant_body(service_id, instance, key, role))

    def revoke(
        self,
        service_id: str,
        instance: Instance | str | None = None,
        key: str | None = None,
        role: str | None = None,
    ) -> int:
        """Take away what matches (None matches all) and return how many grants that were."""
        return int(self._call("DELETE", "/grants", grant_body(service_id, instance, key, role))["removed"])

    def trust_issuer(
        self,
        issuer: str,
        *,
        jwks: dict[str, Any] | None = None,
        public_key_pem: str | None = None,
        audience: str = "iam",
    ) -> None:
        """Accept a cluster's service account tokens (cr-token grant): its issuer and its public keys."""
        body = {"issuer": issuer, "jwks": jwks, "public_key_pem": public_key_pem, "audience": audience}
        self._post("/token-issuers", body)

    def create_trusted_profile(
        self, name: str, *, issuer: str = "", namespace: str = "", service_account: str = "", account: str | None = None
    ) -> str:
        """A trusted profile, which one Kubernetes service account may become; returns its id, for `grant`."""
        link = {"issuer": issuer, "namespace": namespace, "service_account": service_account}
        links = [link] if any(link.values()) else []
        return str(self._post("/trusted-profiles", {"name": name, "account": account, "links": links})["id"])

    def trust_identity(self, profile: str, identity: str) -> None:
        """Let an identity assume a trusted profile with its own access token (the grant type `assume`)."""
        self._post(f"/trusted-profiles/{quote(profile, safe='')}/identities", {"identity": identity})

    # -- clock, faults, counts -------------------------------------------------------------------

    def now(self) -> float:
        return float(self._call("GET", "/clock")["epoch"])

    def advance(self, seconds: float) -> None:
        self._post("/clock", {"advance_seconds": seconds})

    def set_clock(self, epoch: float) -> None:
        self._post("/clock", {"set_epoch": epoch})

    def fault(
        self,
        operation: str,
        *,
        status: int | None = None,
        body: str | None = None,
        content_type: str | None = None,
        code: str | None = None,
        retry_after: int | str | None = None,
        delay: float | None = None,
        drop: bool = False,
        after: bool = False,
        times: int | None = None,
        skip: int = 0,
        key: str | None = None,
    ) -> str:
        """Order trouble for the next `times` calls (None: until cleared) of an operation; returns its id.

        `operation` is a name as in `counts()`, with * as a wildcard ("unwrap", "iam.token", "*"). `drop` cuts
        the connection, `delay` is in seconds, `after` lets the operation happen and only loses its answer,
        `skip` lets the first calls pass, `key` narrows it to one key (CRN or id).
        """
        order = {
            "operation": operation, "status": status, "body": body, "content_type": content_type,
            "code": code, "retry_after": retry_after, "delay": delay, "drop": drop, "after": after,
            "times": times, "skip": skip, "key": key,
        }  # fmt: skip
        return str(self._post("/faults", order)["id"])

    def clear_faults(self, operation: str | None = None) -> None:
        self._call("DELETE", "/faults" + (f"?operation={quote(operation)}" if operation else ""))

    def counts(self) -> dict[str, int]:
        """Calls of the customer API by operation since the start or `reset_counts()`; absent means none."""
        return dict(self.all_counts()["operations"])

    def all_counts(self) -> dict[str, Any]:
        """`operations`, and the same per key id (`keys`), per status (`statuses`) and per identity."""
        return self._call("GET", "/counts")

    def reset_counts(self) -> None:
        self._call("DELETE", "/counts")

    def requests(self) -> list[dict[str, Any]]:
        """The last 1,000 calls, without bodies and tokens."""
        return list(self._call("GET", "/requests")["requests"])

    def token(self, api_key: str | None = None) -> str:
        """An access token, bought as any client buys it (and counted as such)."""
        form = urlencode({"grant_type": APIKEY, "apikey": api_key or self.api_key})
        return str(request(self.url, "POST", "/identity/token", form, form=True)["access_token"])

    # -- wire ------------------------------------------------------------------------------------

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, {name: value for name, value in body.items() if value is not None})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        text = json.dumps({k: v for k, v in body.items() if v is not None}) if body is not None else None
        return request(self.url, method, "/emulator" + path, text)
