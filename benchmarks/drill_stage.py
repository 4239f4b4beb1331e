"""What the revocation drill is played on: a root key, what is sealed under it, and who takes what away."""

import time
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from drill import Act
from openscale_byok.resources import DataMart
from stage import manifests
from stage.scene import Scene

DRILL, API_KEY_SECRET = "drill", "key-protect"  # the name of a namespace, and of a Secret
MARTS = 50
CACHE_SECONDS = 60
"""The data keys' hard limit, as short as the CRD allows."""


@dataclass
class Stage:
    """A root key, the identity that may use it, and what is sealed under it."""

    scene: Scene
    root_key: str
    service_id: str
    api_key: str
    namespace: str = DRILL
    names: list[str] = field(default_factory=lambda: [f"mart-{number:02}" for number in range(MARTS)])

    @classmethod
    def set(cls, scene: Scene) -> "Stage":
        """Seal passwords under a root key; the operator's process does it, and then ends."""
        emulator = scene.emulator
        root_key, service_id = emulator.create_root_key(), emulator.create_service_id()
        emulator.grant(service_id, key=root_key)
        made = cls(scene, root_key, service_id, emulator.create_api_key(service_id))
        scene.namespace(DRILL)
        scene.api.create(
            manifests.secret(DRILL, API_KEY_SECRET, {"apikey": made.api_key}),
            manifests.instance(DRILL, DRILL, str(uuid.uuid4()), api_key_secret=API_KEY_SECRET),
            manifests.binding(DRILL, DRILL, DRILL, root_key, dataKeyCacheSeconds=CACHE_SECONDS),
        )
        for name in made.names:
            secret = manifests.secret(DRILL, name, {"password": uuid.uuid4().hex}, handover=True)
            scene.api.create(secret, manifests.datamart(DRILL, name, DRILL, name))
        scene.until(lambda: all(map(_is_ready, scene.api.list(DataMart.KIND, DRILL))), "everything is sealed")
        scene.operator.stop()
        return made

    def disable(self) -> None:
        """Turn the root key off."""
        self.scene.emulator.disable(self.root_key)

    def enable(self) -> None:
        """And on. (Key Protect asks for 30 seconds between the two; nobody here has learned anything by waiting.)"""
        self.scene.emulator.enable(self.root_key, ignore_timing=True)

    def revoke(self) -> None:
        """Take the grant on the root key away."""
        self.scene.emulator.revoke(self.service_id)

    def grant(self) -> None:
        """And give it again."""
        self.scene.emulator.grant(self.service_id, key=self.root_key)

    def delete_api_key(self) -> None:
        """Delete the API key. IAM lets the tokens that were bought with it live on, for an hour: that hour is over."""
        self.scene.emulator.delete_api_key(self.api_key)
        self.scene.emulator.advance(3_601)

    def new_api_key(self) -> None:
        """Another one, in the same Secret."""
        self.api_key = self.scene.emulator.create_api_key(self.service_id)
        self._write(self.api_key)

    # The same, after somebody in the cluster has put something in between ------------------------------------

    def secret_deleted(self) -> None:
        """An editor deletes the Secret with the API key; a look goes by; then the owner disables the root key."""
        self.scene.api.delete("Secret", self.namespace, API_KEY_SECRET)
        self._looked()
        self.disable()

    def secret_emptied(self) -> None:
        """An editor empties it."""
        self._write("")
        self._looked()
        self.disable()

    def another_identity(self) -> None:
        """An editor puts somebody else's API key there, who may use the root key too."""
        emulator = self.scene.emulator
        other = emulator.create_service_id()
        emulator.grant(other, key=self.root_key)
        self._write(emulator.create_api_key(other))
        self._looked()
        self.disable()

    def patience(self) -> None:
        """Key Protect asks for patience, five minutes of it, at the look before."""
        self.scene.emulator.fault("metadata", status=429, retry_after=300, times=1)
        self._looked()
        self.disable()

    def iam_away(self) -> None:
        """IAM cannot be reached; the token at hand is good."""
        self.scene.emulator.fault("iam.token", status=503)
        self._looked()
        self.disable()

    def blinded(self) -> Mapping[str, Act]:
        """Each way to put something in between."""
        ways = (self.secret_deleted, self.secret_emptied, self.another_identity, self.patience, self.iam_away)
        return {way.__name__: way for way in ways}

    def mend(self) -> None:
        """All of it as it was."""
        self.scene.emulator.clear_faults()
        if not self.scene.api.get("Secret", self.namespace, API_KEY_SECRET):
            self.scene.api.create(manifests.secret(self.namespace, API_KEY_SECRET, {"apikey": self.api_key}))
        self._write(self.api_key)
        self.enable()

    def _write(self, api_key: str) -> None:
        data = {"apikey": b64encode(api_key.encode()).decode()}
        self.scene.api.patch("Secret", self.namespace, API_KEY_SECRET, {"data": data})

    def _looked(self) -> None:
        """A look has been answered since."""
        before = self.scene.emulator.counts()["metadata"]
        while self.scene.emulator.counts()["metadata"] == before:
            time.sleep(0.01)

    def cut_off(self) -> None:
        """Every connection to Key Protect and IAM is dropped."""
        self.scene.emulator.fault("*", drop=True)

    def reconnect(self) -> None:
        """They answer again."""
        self.scene.emulator.clear_faults()


def _is_ready(mart: manifests.Object) -> bool:
    conditions = mart.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
