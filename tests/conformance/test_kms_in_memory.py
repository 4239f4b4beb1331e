"""The global key, and the stories' own root keys, are what the port says."""

import pytest

from conformance.kms import AAD, Harness, KmsConformance, refusal
from openscale_byok.adapters.global_key import CURRENT, GlobalKey, generate_values, parse
from openscale_byok.core.key_state import KeyState
from openscale_byok.core.source import Source
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Kms
from openscale_byok.reasons import Reason
from sim.root_keys import MemoryKms, RootKey


def _global_key(values: dict[str, bytes]) -> GlobalKey:
    return parse(Source("uid", "1", "Opaque", values))


class TestGlobalKey(KmsConformance):
    """The operator's own root key."""

    @pytest.fixture
    def harness(self) -> Harness:
        values = generate_values()

        async def rotate() -> Kms:
            return _global_key({**values, **generate_values()})

        return Harness(_global_key(values), _global_key(generate_values()), rotate)

    async def test_a_lost_version_is_said(self) -> None:
        """A data key under a version that is not there any more is not Tampered: the version is missing."""
        values = generate_values()
        _, wrapped = await _global_key(values).generate(AAD)
        newer = await refusal(
            _global_key(generate_values()).unwrap(wrapped.ciphertext, AAD), Reason.GLOBAL_KEY_VERSION_MISSING
        )
        assert values[CURRENT].decode()[:8] in newer.message


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
