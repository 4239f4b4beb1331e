"""The global key, and the stories' own root keys, are what the port says."""

from collections.abc import Mapping

import pytest

from conformance.kms import AAD, Harness, KmsConformance, refusal
from openscale_byok.adapters.global_key import GlobalKey, generate_values
from openscale_byok.core.key_state import KeyState
from openscale_byok.core.source import Source
from openscale_byok.crypto.global_versions import CURRENT
from openscale_byok.errors import Missing, Refused, Unavailable
from openscale_byok.ports import Kms
from openscale_byok.reasons import Reason
from sim.root_keys import MemoryKms, RootKey


class Secrets:
    """The one Secret, which its owner may change or delete."""

    def __init__(self, values: dict[str, bytes] | None) -> None:
        self.values = values

    async def read(self, namespace: str, name: str) -> Source:
        if self.values is None:
            raise Missing(Reason.SECRET_NOT_FOUND, "none")
        return Source("uid", "1", "Opaque", self.values)

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        raise AssertionError("behind the port nothing is ever created")

    def key(self) -> GlobalKey:
        return GlobalKey(self, "ns", "key")


class TestGlobalKey(KmsConformance):
    """The operator's own root key."""

    @pytest.fixture
    def secrets(self) -> Secrets:
        return Secrets(generate_values())

    @pytest.fixture
    def harness(self, secrets: Secrets) -> Harness:
        kms = secrets.key()

        async def rotate() -> Kms:
            assert secrets.values is not None
            secrets.values = {**secrets.values, **generate_values()}
            return kms  # the very same goes on: what the Secret holds now counts

        return Harness(kms, Secrets(generate_values()).key(), rotate)

    async def test_a_lost_version_is_said(self, secrets: Secrets) -> None:
        """A data key under a version that is not there any more is not Tampered: the version is missing."""
        _, wrapped = await secrets.key().generate(AAD)
        lost, secrets.values = secrets.values, generate_values()
        said = await refusal(secrets.key().unwrap(wrapped.ciphertext, AAD), Reason.GLOBAL_KEY_VERSION_MISSING)
        assert lost is not None
        assert lost[CURRENT].decode()[:8] in said.message

    @pytest.mark.parametrize("broken", [None, {}, {"note": b"hello"}], ids=["deleted", "emptied", "changed"])
    async def test_a_secret_that_is_gone_is_a_clear_no(self, secrets: Secrets, broken: dict[str, bytes] | None) -> None:
        """Deleted or changed under the running operator: every call is refused; put back, every call works."""
        kms = secrets.key()
        made, wrapped = await kms.generate(AAD)
        before, secrets.values = secrets.values, broken
        for call in (kms.look(), kms.generate(AAD), kms.unwrap(wrapped.ciphertext, AAD)):
            with pytest.raises(Refused) as refused:
                await call
            assert refused.value.reason in (Reason.GLOBAL_KEY_VERSION_MISSING, Reason.TAMPERED)
        secrets.values = before
        assert made == await kms.unwrap(wrapped.ciphertext, AAD)

    async def test_a_new_version_asks_for_new_data_keys(self, harness: Harness) -> None:
        """It may have leaked: what another version wrapped is to be replaced, never rewrapped."""
        _, wrapped = await harness.kms.generate(AAD)
        await harness.rotate()
        look = await harness.kms.look()
        assert look.left(wrapped.version)
        assert not look.behind(wrapped.version)


class TestMemory(KmsConformance):
    """What the stories run on is no weaker than what they stand for."""

    @pytest.fixture
    def harness(self) -> Harness:
        key = RootKey()

        async def rotate() -> Kms:
            key.rotate()
            return MemoryKms(key)

        return Harness(MemoryKms(key), MemoryKms(RootKey()), rotate)

    async def test_its_states(self) -> None:
        """It refuses as Key Protect does: by state, by credentials, by being away."""
        key = RootKey()
        kms = MemoryKms(key)
        _, wrapped = await kms.generate(AAD)
        key.state = KeyState.DEACTIVATED
        await kms.unwrap(wrapped.ciphertext, AAD)
        await refusal(kms.generate(AAD), Reason.KEY_EXPIRED)
        key.state = KeyState.SUSPENDED
        await refusal(kms.unwrap(wrapped.ciphertext, AAD), Reason.KEY_DISABLED)
        key.state = KeyState.DESTROYED
        await refusal(kms.unwrap(wrapped.ciphertext, AAD), Reason.KEY_DESTROYED)
        key.refused = True
        await refusal(kms.look(), Reason.CREDENTIALS_REFUSED)
        key.away = True
        with pytest.raises(Unavailable):
            await kms.look()
