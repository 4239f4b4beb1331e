"""A password goes where it was given for *as* it was given for: the server there has to prove as much as then."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.context import Proof
from openscale_byok.errors import ByokError
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataMart, OpenScaleInstance
from sim.certificates import BROKEN, certificate
from sim.expect import expect_settled
from sim.operator import Operator
from sim.world import CRNS, NAMESPACE, World

OURS, THEIRS = certificate("ours"), certificate("theirs")
BUNDLE = {"tls": "VerifyFull", "caBundle": OURS}
NEXT_LOOK = 400.0
"""Longer than the interval at which root keys are looked at."""


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each story, with an instance."""
    made = World()
    made.create_instance()
    yield made
    made.close()


def put(world: World, name: str = "a", **database: Any) -> None:
    """Change where a data mart's database is, or how it is proven."""
    world.cluster.change_spec(DataMart.KIND, NAMESPACE, name, {"database": database})


def sealed(world: World, *, handover: bool = True, root_key: str = "", **database: Any) -> tuple[Operator, bytes]:
    """Data mart `a`, sealed for a database that is proven so; the operator that did it, and the password."""
    password = world.give("a", handover=handover)
    world.create_mart("a")
    put(world, **database)
    if root_key:
        world.bind("x", root_key)
    operator = world.start()
    world.wait(5.0)
    assert ready(world) == ("True", "Sealed")
    return operator, password


def ready(world: World, name: str = "a") -> tuple[str, str]:
    """What its condition Ready says of the spec of now."""
    mart = DataMart.of(world.mart(name))
    assert mart.status.observed_generation == mart.metadata.generation
    return next((c.status, c.reason) for c in mart.status.conditions if c.type == "Ready")


def message(world: World) -> str:
    return next(c.message for c in DataMart.of(world.mart("a")).status.conditions if c.type == "Ready")


def told(world: World, operator: Operator) -> bytes | Reason:
    """What a reader gets now."""
    assert operator.engine is not None
    with operator.process.running():
        asking = world.loop.create_task(operator.engine.open(DataMart.KIND, NAMESPACE, "a"))
    world.loop.run_ready()
    world.run(operator)
    error = asking.exception()
    if error is None:
        return asking.result().secret
    assert isinstance(error, ByokError), error
    return error.reason


def stored(world: World, name: str = "a") -> envelopes.Envelope:
    """The envelope, as it is stored."""
    found = DataMart.of(world.mart(name)).status.sealed_password
    assert found is not None
    return envelopes.parse(found.envelope)


def as_former_version(world: World, name: str = "a") -> None:
    """Put a v1 of the same password in the envelope's place, as a former version of us wrote it."""
    envelope = stored(world, name)
    instance = OpenScaleInstance.of(world.instance())
    entry = instance.properties.find(envelope.data_key)
    assert entry is not None
    key = world.checks._unwrap(instance, entry.root_key, entry.wrapped)
    secret = envelopes.open_(envelope, key, envelope.context)
    bare = replace(envelope.context, proof=None)
    text = envelopes.seal(secret, key, bare, envelope.wrapped, bytes(range(12)))
    meta = DataMart.of(world.mart(name)).metadata
    world.cluster.patch_status(DataMart.KIND, meta, {"sealedPassword": {"envelope": text}})


LOWERED = {
    "tls Disable": (BUNDLE, {"tls": "Disable", "caBundle": None}, "spec.database.tls: was lowered from VerifyFull"),
    "tls Require": ({}, {"tls": "Require"}, "spec.database.tls: was lowered from VerifyFull to Require"),
    "Require to Disable": ({"tls": "Require"}, {"tls": "Disable"}, "was lowered from Require to Disable"),
    "another bundle": (BUNDLE, {"caBundle": THEIRS}, "spec.database.caBundle: holds other certificates"),
    "one more authority": (BUNDLE, {"caBundle": OURS + THEIRS}, "spec.database.caBundle: holds other certificates"),
    "a bundle of one's own": ({}, {"caBundle": THEIRS}, "spec.database.caBundle: was added"),
    "the bundle taken out": (BUNDLE, {"caBundle": None}, "spec.database.caBundle: was taken out"),
}


@pytest.mark.parametrize(("given", "change", "says"), LOWERED.values(), ids=list(LOWERED))
def test_less_proof_asks_for_the_password_anew(world: World, given: Any, change: Any, says: str) -> None:
    """After a hand-over nothing is served to a server that proves less; the message says what was lowered."""
    operator, password = sealed(world, **given)
    assert told(world, operator) == password
    put(world, **change)
    world.run(operator)
    assert told(world, operator) == Reason.ENDPOINT_CHANGED
    world.wait(5.0)
    assert ready(world) == ("False", "EndpointChanged")
    assert says in message(world)
    assert "give the password again in Secret pw-a" in message(world)
    world.change_instance(dataKeyRevision=1)
    world.wait(5.0)
    assert told(world, operator) == Reason.ENDPOINT_CHANGED, "re-encryption keeps what it was given for"
    put(world, **{"tls": "VerifyFull", "caBundle": None} | given)
    world.wait(5.0)
    assert told(world, operator) == password, "put back, nothing has to be given"
    put(world, **change)
    again = world.give("a", handover=True)
    world.wait(NEXT_LOOK)
    assert told(world, operator) == again
    expect_settled(world)


def test_a_kept_source_gives_it_for_the_lower_proof(world: World) -> None:
    """While the source is there the password is sealed anew for what the object says, as for another endpoint."""
    operator, password = sealed(world, handover=False)
    put(world, tls="Disable")
    world.wait(5.0)
    assert ready(world) == ("True", "Sealed")
    assert told(world, operator) == password
    assert stored(world).context.proof == Proof("Disable", "")


def test_more_proof_needs_no_password_and_may_be_taken_back(world: World) -> None:
    """Raised, it is served as before, with the present mode; the envelope says what it was given for, and no more."""
    operator, password = sealed(world, tls="Require")
    before = stored(world).text
    for change in ({"tls": "VerifyFull"}, {"caBundle": THEIRS}, {"caBundle": OURS}, {"caBundle": None}):
        put(world, **change)
        world.run(operator)
        assert told(world, operator) == password
        world.wait(5.0)
        assert ready(world) == ("True", "Sealed")
    assert stored(world).text == before, "a raise seals nothing anew"
    world.change_instance(dataKeyRevision=1)
    world.wait(5.0)
    assert stored(world).text != before
    put(world, tls="Require")
    world.wait(5.0)
    assert told(world, operator) == password, "back to what it was given for"
    put(world, tls="Disable")
    world.wait(5.0)
    assert told(world, operator) == Reason.ENDPOINT_CHANGED
    put(world, tls="Require")
    expect_settled(world)


def test_comments_in_a_bundle_are_no_change(world: World) -> None:
    """What a client trusts is the same: nothing is sealed anew, and nothing asked for."""
    operator, password = sealed(world, tls="VerifyFull", caBundle=OURS + THEIRS)
    before = stored(world).text
    put(world, caBundle=f"# the second one first\n{THEIRS}\n\nissuer=ours\r\n{OURS}{THEIRS}")
    world.wait(5.0)
    assert ready(world) == ("True", "Sealed")
    assert told(world, operator) == password
    assert stored(world).text == before


# A caBundle that is none.


def test_nothing_is_sealed_or_served_with_a_bundle_that_cannot_be_read(world: World) -> None:
    """CABundleInvalid, with the cure: neither sealed from its source nor handed out, and well again once mended."""
    world.give("a", handover=True)
    world.create_mart("a")
    put(world, caBundle=BROKEN)
    operator = world.start()
    world.wait(5.0)
    assert ready(world) == ("False", "CABundleInvalid")
    assert "spec.database.caBundle: cannot be read as certificates" in message(world)
    assert (NAMESPACE, "pw-a") in world.cluster.secrets, "nothing was consumed"
    assert "sealedPassword" not in world.mart("a")["status"], "nothing was sealed"
    writes = world.cluster.writes
    world.wait(3_600.0)
    assert world.cluster.writes == writes, "it waits, and writes nothing"
    put(world, caBundle=OURS)
    world.wait(5.0)
    assert ready(world) == ("True", "Sealed")
    password = told(world, operator)
    put(world, caBundle=BROKEN)
    world.wait(5.0)
    assert ready(world) == ("False", "CABundleInvalid")
    assert isinstance(told(world, operator), Reason)
    put(world, caBundle=OURS)
    world.wait(5.0)
    assert told(world, operator) == password
    expect_settled(world)


def test_a_broken_bundle_where_any_was_more_is_not_served_either(world: World) -> None:
    """Given for Require, any authority is more; what cannot be read is none."""
    operator, password = sealed(world, tls="Require")
    put(world, tls="VerifyFull", caBundle=BROKEN)
    world.run(operator)
    assert told(world, operator) == Reason.CA_BUNDLE_INVALID
    world.wait(5.0)
    assert ready(world) == ("False", "CABundleInvalid")
    put(world, caBundle=None)
    world.wait(5.0)
    assert told(world, operator) == password


def test_a_broken_bundle_holds_up_no_change_of_root_key(world: World) -> None:
    """It is re-encrypted as it is, so that the old root key is needed by nothing."""
    sealed(world, root_key="A", **BUNDLE)
    put(world, caBundle=BROKEN)
    world.bind("y", "B")
    world.unbind("x")
    world.wait(30.0)
    assert world.binding("x") is None
    assert stored(world).wrapped.root_key == CRNS["B"]
    put(world, caBundle=OURS)
    expect_settled(world)


# From v1 to v2.


def test_a_v1_is_bound_to_what_its_object_says_at_first_sight(world: World) -> None:
    """One write for each, once: it stays Ready, opens, and from then on a lower proof asks for the password."""
    operator, password = sealed(world, **BUNDLE)
    world.give("b", handover=True)
    world.create_mart("b")
    world.wait(5.0)
    operator.crash()
    for name in "ab":
        as_former_version(world, name)
    writes = world.cluster.writes
    operator = world.start()
    world.wait(5.0)
    assert world.cluster.writes == writes + 2
    assert ready(world) == ready(world, "b") == ("True", "Sealed")
    proof = stored(world).context.proof
    assert proof is not None
    assert proof.tls == "VerifyFull"
    assert proof.ca
    assert told(world, operator) == password
    operator.crash()
    operator = world.start()
    world.settle()
    assert world.cluster.writes == writes + 2, "once"
    put(world, tls="Disable", caBundle=None)
    world.run(operator)
    assert told(world, operator) == Reason.ENDPOINT_CHANGED


@pytest.mark.parametrize("call", ["kms.unwrap", "patch status a"])
def test_nobody_chooses_the_moment_of_first_sight(world: World, call: str) -> None:
    """What is lowered while a v1 waits for its first opening changes nothing: what counts is what was seen first."""
    operator, _ = sealed(world, root_key="A")
    operator.crash()
    as_former_version(world)
    operator = world.start()
    for _ in range(500):
        operator.deliver_heard()
        world.loop.run_ready()
        if any(pending.name.startswith(call) for pending in operator.process.pending):
            break
        operator.process.whole()
        world.loop.run_ready()
    else:
        raise AssertionError("never came there")
    put(world, tls="Disable")
    world.wait(5.0)
    assert stored(world).context.proof == Proof("VerifyFull", "")
    assert told(world, operator) == Reason.ENDPOINT_CHANGED
    assert ready(world) == ("False", "EndpointChanged")


def test_a_v1_that_does_not_open_yet_stays_what_it_was_at_first_sight(world: World) -> None:
    """Its root key is disabled: it stays a v1, and is served no lower proof once the key is enabled."""
    operator, password = sealed(world, root_key="A")
    operator.crash()
    as_former_version(world)
    world.root_key("A").state = KeyState.SUSPENDED
    operator = world.start()
    world.wait(NEXT_LOOK)
    assert stored(world).context.proof is None
    put(world, tls="Disable")
    world.wait(5.0)
    world.heal()
    world.wait(NEXT_LOOK)
    assert stored(world).context.proof == Proof("VerifyFull", "")
    assert told(world, operator) == Reason.ENDPOINT_CHANGED
    put(world, tls="VerifyFull")
    world.wait(5.0)
    assert told(world, operator) == password
    expect_settled(world)


def test_a_v1_that_is_stale_is_bound_as_it_moves(world: World) -> None:
    """A change of root key that was under way at the upgrade costs no second write."""
    operator, password = sealed(world, root_key="A")
    operator.crash()
    as_former_version(world)
    world.bind("y", "B")
    world.unbind("x")
    operator = world.start()
    world.wait(30.0)
    assert stored(world).wrapped.root_key == CRNS["B"]
    assert stored(world).context.proof == Proof("VerifyFull", "")
    assert told(world, operator) == password
    expect_settled(world)


def test_a_v1_that_comes_back_from_a_backup_is_bound_anew(world: World) -> None:
    """It opens, as for ever, and is bound to what the object says then: a backup holds both."""
    operator, password = sealed(world)
    as_former_version(world)
    world.wait(5.0)
    assert stored(world).context.proof == Proof("VerifyFull", "")
    assert told(world, operator) == password
    assert stored(world).wrapped.root_key == GLOBAL
    expect_settled(world)


def test_a_v1_with_a_broken_bundle_is_bound_to_just_that(world: World) -> None:
    """Who breaks it before the upgrade does not choose later what it is bound to: mended, it asks for the password."""
    operator, _ = sealed(world, **BUNDLE)
    operator.crash()
    as_former_version(world)
    put(world, caBundle=BROKEN)
    operator = world.start()
    world.wait(5.0)
    assert stored(world).context.proof is not None
    assert ready(world) == ("False", "CABundleInvalid")
    put(world, caBundle=THEIRS)
    world.wait(5.0)
    assert ready(world) == ("False", "EndpointChanged")
    world.give("a", handover=True)
    world.wait(NEXT_LOOK)
    expect_settled(world)
