"""The global key's Secret: created once, and never while that would hide a loss; changed never used."""

import asyncio

import pytest

from openscale_byok.adapters.global_key import create_once, generate_values
from openscale_byok.core.source import Source
from openscale_byok.crypto.data_key import DataKey, commitment
from openscale_byok.crypto.global_versions import CURRENT, LEAVING, parse, stamp, stamped, version_in, version_of
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.reasons import Reason

RAW, OTHER = b"r" * 32, b"o" * 32
ONE, TWO = commitment(RAW), commitment(OTHER)
GOOD = {ONE: RAW, CURRENT: ONE.encode()}
AAD = ("openscale-byok", "i")


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


async def start(store, named=None):
    """A start of the operator."""

    async def naming():
        return named or {}

    return await create_once(store, "byok", "key", naming)


async def test_created_on_the_first_start_and_never_again():
    """The second start finds what the first one made."""
    store = Secrets()
    first, second = [await start(store) for _ in range(2)]
    assert store.created == 1
    assert (await first.look()).version == (await second.look()).version


async def test_two_starts_at_once_agree():
    """Both find nothing and both create: one wins, and the other uses what it finds then."""
    store = Secrets()
    first, second = await asyncio.gather(*(start(store) for _ in range(2)))
    assert store.created == 1
    assert (await first.look()).version == (await second.look()).version


@pytest.mark.parametrize("values", [None, GOOD | {ONE: OTHER}, {}], ids=["missing", "changed", "emptied"])
async def test_a_start_that_would_hide_a_loss_is_refused(values):
    """No Secret, or a broken one, while something names a version: which, and what names it; nothing is created."""
    store = Secrets(values)
    with pytest.raises(Refused) as refused:
        await start(store, {ONE: "OpenScaleInstance n/prod", "?": "DataMart n/strange, perhaps"})
    assert refused.value.reason is Reason.GLOBAL_KEY_VERSION_MISSING
    assert (store.values, store.created) == (values, 0)
    for text in ("byok/key", "n/prod", "n/strange", ONE[:8]):
        assert text in refused.value.message


@pytest.mark.parametrize("values", [GOOD, GOOD | {TWO: RAW}], ids=["one version lacks", "broken, and nothing named"])
async def test_no_other_start_is_refused(values):
    """One instance's status that names a version which is not there stops nobody; nor does a Secret nobody needs."""
    await start(Secrets(values), {TWO: "OpenScaleInstance n/prod"} if values is GOOD else None)


SECRETS = {
    "one version": (GOOD, None),
    "two, the older wraps": (GOOD | {TWO: OTHER}, None),
    "one that is leaving": (GOOD | {LEAVING + TWO: OTHER}, None),
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
def test_every_version_commits_to_its_name(values, wanted):
    """A Secret that is not what it was is never used, and never shown."""
    if wanted is None:
        assert parse(values).current == ONE
        assert "rrrr" not in repr(parse(values))
        return
    with pytest.raises(Refused) as refused:
        parse(values)
    assert refused.value.reason is wanted
    assert "rrrr" not in refused.value.message
    assert "oooo" not in refused.value.message


def test_a_version_that_is_leaving_opens_nothing():
    """So that whoever still needs it is told before it is gone, and not afterwards."""
    wrapped = parse(GOOD).wrap(DataKey(b"d" * 32), AAD, bytes(12))
    leaving = parse({LEAVING + ONE: RAW, TWO: OTHER, CURRENT: TWO.encode()})
    with pytest.raises(Refused) as refused:
        leaving.unwrap(wrapped, AAD)
    assert refused.value.reason is Reason.GLOBAL_KEY_VERSION_MISSING


def test_a_first_key_is_random():
    """Two first keys differ, and each is a Secret that can be read."""
    one, two = (parse(generate_values()) for _ in range(2))
    assert one.current != two.current


def test_a_wrapped_key_names_what_wrapped_it():
    """A version of the Secret or a root key's CRN can be told without opening it; anything else names nothing."""
    wrapped = parse(GOOD).wrap(DataKey(b"d" * 32), AAD, bytes(12))
    assert (version_of(wrapped), stamped(wrapped), version_in(wrapped)) == (ONE, None, ONE)
    by_root_key = stamp("crn:v1:x:key:y", "c#c")
    assert (version_of(by_root_key), stamped(by_root_key)) == ("", ("crn:v1:x:key:y", "c#c"))
    assert version_in(by_root_key) == "y/"
    for text in ("", "w", "a.b.c.d.e", "eyJ9....", "crn:v1:x#", "#c"):
        assert (version_of(text), stamped(text)) == ("", None)
