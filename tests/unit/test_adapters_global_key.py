"""The global key's Secret: created once, lost never unnoticed, changed never used."""

import asyncio

import pytest

from openscale_byok.adapters.global_key import CURRENT, generate_values, load, parse, version_of
from openscale_byok.core.source import Source
from openscale_byok.crypto.data_key import commitment
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.reasons import Reason

RAW, OTHER = b"r" * 32, b"o" * 32
ONE, TWO = commitment(RAW), commitment(OTHER)
GOOD = {ONE: RAW, CURRENT: ONE.encode()}


class Secrets:
    """The port, in memory: one Secret at most."""

    def __init__(self, values=None) -> None:
        self.values, self.created = values, 0

    async def read(self, namespace, name) -> Source:
        await asyncio.sleep(0)
        if self.values is None:
            raise Missing(Reason.SECRET_NOT_FOUND, "none")
        return Source("u", "1", "Opaque", self.values)

    async def create_secret(self, namespace, name, values) -> Source:
        await asyncio.sleep(0)
        if self.values is not None:
            raise Changed(Reason.CHANGED_MEANWHILE, "there is one")
        self.values, self.created = values, self.created + 1
        return Source("u", "1", "Opaque", values)


async def test_created_on_the_first_start_and_never_again():
    """The second start finds what the first one made."""
    store = Secrets()
    first, second = [await load(store, "byok", "key", {}) for _ in range(2)]
    assert store.created == 1
    assert (first.current, first.versions) == (second.current, second.versions)


async def test_two_starts_at_once_agree():
    """Both find nothing and both create: one wins, and the other uses what it finds then."""
    store = Secrets()
    first, second = await asyncio.gather(*(load(store, "byok", "key", {}) for _ in range(2)))
    assert store.created == 1
    assert (first.current, first.versions) == (second.current, second.versions)


@pytest.mark.parametrize(
    ("values", "named", "lost"),
    [
        (None, {ONE: "n/prod"}, [ONE]),
        (GOOD, {TWO: "n/prod"}, [TWO]),
        (GOOD, {ONE: "n/fine", TWO: "n/prod"}, [TWO]),
    ],
    ids=["no Secret", "another version", "one of two"],
)
async def test_a_lost_version_refuses(values, named, lost):
    """What an instance names and is not there: which, and who names it; and no new key hides the loss."""
    store = Secrets(values)
    with pytest.raises(Refused) as refused:
        await load(store, "byok", "key", named)
    assert refused.value.reason is Reason.GLOBAL_KEY_VERSION_MISSING
    assert store.created == 0
    for text in ("byok/key", "n/prod", *(version[:8] for version in lost)):
        assert text in refused.value.message
    assert "n/fine" not in refused.value.message


SECRETS = {
    "one version": (GOOD, None),
    "two, the older wraps": (GOOD | {TWO: OTHER}, None),
    "changed": (GOOD | {ONE: OTHER}, Reason.TAMPERED),
    "cut short": (GOOD | {ONE: RAW[:-1]}, Reason.TAMPERED),
    "one that does not wrap was changed": (GOOD | {TWO: RAW}, Reason.TAMPERED),
    "a stray key": (GOOD | {"note": b"hello"}, Reason.TAMPERED),
    "the one that wraps is missing": ({TWO: OTHER, CURRENT: ONE.encode()}, Reason.GLOBAL_KEY_VERSION_MISSING),
    "nothing says which wraps": ({ONE: RAW}, Reason.GLOBAL_KEY_VERSION_MISSING),
    "no text says which wraps": ({ONE: RAW, CURRENT: b"\xff"}, Reason.GLOBAL_KEY_VERSION_MISSING),
    "empty": ({}, Reason.GLOBAL_KEY_VERSION_MISSING),
}


@pytest.mark.parametrize(("values", "wanted"), SECRETS.values(), ids=SECRETS)
async def test_every_version_commits_to_its_name(values, wanted):
    """A Secret that is not what it was is never used, and never shown."""
    source = Source("u", "1", "Opaque", values)
    if wanted is None:
        assert parse(source).current == ONE
        assert "rrrr" not in repr(parse(source))
        return
    with pytest.raises(Refused) as refused:
        parse(source)
    assert refused.value.reason is wanted
    assert "rrrr" not in refused.value.message
    assert "oooo" not in refused.value.message
    with pytest.raises(Refused):
        await load(Secrets(values), "byok", "key", {})


def test_a_first_key_is_random():
    """Two first keys differ, and each is a Secret that can be read."""
    one, two = (parse(Source("u", "1", "Opaque", generate_values())) for _ in range(2))
    assert one.current != two.current


async def test_a_wrapped_key_names_its_version():
    """What wrapped it can be told without opening it; anything else names nothing."""
    key = parse(Source("u", "1", "Opaque", GOOD))
    _, wrapped = await key.generate(("openscale-byok", "i"))
    assert version_of(wrapped.ciphertext) == wrapped.version == ONE
    assert [version_of(text) for text in ("", "w", "a.b.c.d.e", "eyJ9....")] == [""] * 4
