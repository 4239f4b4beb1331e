"""What every adapter of the port `Kms` does: the suite is part of the port.

An adapter's test is a fixture `harness`, and a class that inherits `KmsConformance`.
"""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.ports import Kms
from openscale_byok.reasons import Reason

AAD = ("openscale-byok", "0a1b2c3d-0000-4000-8000-000000000001")
OTHER_AAD = ("openscale-byok", "0a1b2c3d-0000-4000-8000-000000000002")


@dataclass(frozen=True)
class Harness:
    """A root key behind an adapter, another one of the same kind, and its owner's right to rotate."""

    kms: Kms
    other: Kms
    rotate: Callable[[], Awaitable[Kms]]
    """Rotates the root key; the adapter to use from then on."""


async def refusal(call: Awaitable[object], reason: Reason) -> ByokError:
    """What a call is refused with: the family, and the reason."""
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.reason is reason
    return caught.value


def damaged(ciphertext: str) -> list[str]:
    """A ciphertext with something wrong in each of its parts."""
    half = len(ciphertext) // 2
    flip = "A" if ciphertext[half] != "A" else "B"
    return [
        ciphertext[:half] + flip + ciphertext[half + 1 :],
        ciphertext[:-8],
        ciphertext[8:],
        base64.b64encode(b"not a ciphertext at all").decode("ascii"),
        "AAAA",
    ]


class KmsConformance:
    """One root key, whatever it is kept in."""

    async def test_round_trip(self, harness: Harness) -> None:
        """What was generated unwraps to itself, by the ciphertext and the AAD alone."""
        made, wrapped = await harness.kms.generate(AAD)
        assert made == await harness.kms.unwrap(wrapped.ciphertext, AAD)
        assert made.id == (await harness.kms.unwrap(wrapped.ciphertext, AAD)).id

    async def test_no_two_are_the_same(self, harness: Harness) -> None:
        """Two generated data keys differ, and so do their wrapped forms."""
        first, first_wrapped = await harness.kms.generate(AAD)
        second, second_wrapped = await harness.kms.generate(AAD)
        assert first != second
        assert first.id != second.id
        assert first_wrapped.ciphertext != second_wrapped.ciphertext

    async def test_bound_to_its_aad(self, harness: Harness) -> None:
        """A wrapped key that was moved to another instance is Tampered."""
        _, wrapped = await harness.kms.generate(AAD)
        await refusal(harness.kms.unwrap(wrapped.ciphertext, OTHER_AAD), Reason.TAMPERED)
        await refusal(harness.kms.rewrap(wrapped.ciphertext, OTHER_AAD), Reason.TAMPERED)

    async def test_damaged(self, harness: Harness) -> None:
        """A ciphertext that was changed anywhere, cut or made up is Tampered."""
        _, wrapped = await harness.kms.generate(AAD)
        for broken in damaged(wrapped.ciphertext):
            await refusal(harness.kms.unwrap(broken, AAD), Reason.TAMPERED)

    async def test_foreign(self, harness: Harness) -> None:
        """Another root key's ciphertext does not open, whatever the reason is called."""
        _, wrapped = await harness.other.generate(AAD)
        with pytest.raises(Refused) as caught:
            await harness.kms.unwrap(wrapped.ciphertext, AAD)
        assert caught.value.reason in (Reason.TAMPERED, Reason.GLOBAL_KEY_VERSION_MISSING)

    async def test_rewrap(self, harness: Harness) -> None:
        """Rewrapping follows a rotation and keeps the data key; the former ciphertext keeps opening."""
        made, wrapped = await harness.kms.generate(AAD)
        kms = await harness.rotate()
        assert made == await kms.unwrap(wrapped.ciphertext, AAD)
        newer = await kms.rewrap(wrapped.ciphertext, AAD)
        assert newer.version != wrapped.version
        assert newer.version == (await kms.look()).version
        assert made == await kms.unwrap(newer.ciphertext, AAD)
        assert made == await kms.unwrap(wrapped.ciphertext, AAD)

    async def test_generate_says_the_newest_version(self, harness: Harness) -> None:
        """The version beside a new wrapped key is the one that a look shows, before and after a rotation."""
        _, wrapped = await harness.kms.generate(AAD)
        assert wrapped.version == (await harness.kms.look()).version
        kms = await harness.rotate()
        _, newer = await kms.generate(AAD)
        assert newer.version == (await kms.look()).version
        assert newer.version != wrapped.version

    async def test_look(self, harness: Harness) -> None:
        """A root key that works is Active."""
        assert (await harness.kms.look()).state is KeyState.ACTIVE

    async def test_nothing_secret_is_shown(self, harness: Harness) -> None:
        """Neither a data key nor a wrapped key nor a refusal shows the key, the ciphertext or what was sent."""
        made, wrapped = await harness.kms.generate(AAD)
        raw = made.reveal()
        secret = {raw.hex(), base64.b64encode(raw).decode().rstrip("="), str(raw)[2:-1], wrapped.ciphertext[:24]}
        shown = [repr(made), repr(wrapped), repr(harness.kms), str(harness.kms)]
        for call in (
            harness.kms.unwrap(wrapped.ciphertext, OTHER_AAD),
            harness.kms.unwrap(wrapped.ciphertext[:-8], AAD),
        ):
            with pytest.raises((Refused, Unavailable)) as caught:
                await call
            shown += [str(caught.value), repr(caught.value)]
            assert caught.value.__cause__ is None
        for text in shown:
            assert not any(part in text for part in secret), text
