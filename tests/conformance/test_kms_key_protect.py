"""Key Protect behind the port: real HTTP, real IAM tokens, an emulator that IBM's own client agrees with."""

import asyncio
import contextlib
import gzip
import json
import os
import socket
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest

from conformance.kms import AAD, Harness, KmsConformance, refusal
from key_protect_emulator.control import Emulator
from openscale_byok.adapters import http
from openscale_byok.adapters.global_key import GlobalKey, generate_values
from openscale_byok.adapters.global_root_key import GlobalKeys
from openscale_byok.adapters.http import MAX_RETRY_AFTER
from openscale_byok.adapters.iam import FRESH_FRACTION, RENEWAL_RETRY_SECONDS, Iam, api_key_form
from openscale_byok.adapters.key_protect import KeyProtectKey, Token
from openscale_byok.adapters.root_keys import Policy, RootKeyDirectory, owners_root_key
from openscale_byok.core.key_state import KeyState
from openscale_byok.core.source import Source
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Kms
from openscale_byok.reasons import Reason
from openscale_byok.resources import Credentials, RootKeyBinding, SecretKeyRef
from openscale_byok.resources.crn import parse as parse_crn

CREDENTIALS = Credentials(api_key_secret_ref=SecretKeyRef(name="api-key", key="apikey"))
MARKER = "marker-of-a-body-that-nobody-may-repeat"


@dataclass
class Secrets:
    """The one Secret, which a test may change."""

    api_key: str = field(repr=False)

    async def read(self, namespace: str, name: str) -> Source:
        return Source("uid", "1", "Opaque", {"apikey": self.api_key.encode()})

    async def delete(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        raise AssertionError("credentials are never deleted")

    async def service_account_token(self, namespace: str, name: str, audience: str) -> str:
        raise AssertionError("nobody asked for a trusted profile")


@dataclass
class GlobalSecret:
    """The global key's Secret."""

    values: dict[str, bytes] = field(repr=False)

    async def read(self, namespace: str, name: str) -> Source:
        return Source("uid", "1", "Opaque", self.values)

    async def create_secret(self, namespace: str, name: str, values: object) -> Source:
        raise AssertionError("behind the port nothing is ever created")


@dataclass
class Customer:
    """A service id with an API key, and the operator's directory of root keys that uses it."""

    emulator: Emulator
    session: aiohttp.ClientSession
    service_id: str
    secrets: Secrets

    def __post_init__(self) -> None:
        policy = Policy(default_endpoint=self.emulator.url)
        iam = Iam(self.session, self.emulator.iam_url)
        self.secret = GlobalKey(GlobalSecret(generate_values()), "byok", "global-key")
        self.directory = RootKeyDirectory(self.session, iam, self.secrets, self.secrets, policy, global_key=_NO_KMS)

    def owners(self, crn: str) -> Kms:
        at, url = SecretKeyRef(name="api-key", key="apikey"), self.emulator.url
        iam = Iam(self.session, self.emulator.iam_url)
        return owners_root_key(self.session, iam, self.secrets, at, "byok", url, parse_crn(crn))

    def kms(self, crn: str) -> Kms:
        binding = {"metadata": {"namespace": "ns", "name": "b"}, "spec": {"instanceRef": {"name": "i"}}}
        binding["spec"]["rootKey"] = {"crn": crn}
        return self.directory.customer(RootKeyBinding.of(binding), CREDENTIALS)


_NO_KMS: Kms = None  # type: ignore[assignment] # never asked for here


@pytest.fixture
def customer(emulator: Emulator, session: aiohttp.ClientSession) -> Customer:
    """May read every key of the first instance."""
    service_id = emulator.create_service_id()
    emulator.grant(service_id, emulator.instance, role="Reader")
    return Customer(emulator, session, service_id, Secrets(emulator.create_api_key(service_id)))


@pytest.fixture
def crn(emulator: Emulator) -> str:
    return emulator.create_root_key(emulator.instance)


@pytest.fixture
async def wrapped(customer: Customer, crn: str, emulator: Emulator) -> str:
    """A wrapped data key; no call is counted yet."""
    _, made = await customer.kms(crn).generate(AAD)
    emulator.reset_counts()
    return made.ciphertext


class TestKeyProtect(KmsConformance):
    """A customer's root key."""

    @pytest.fixture
    def harness(self, customer: Customer, emulator: Emulator, crn: str) -> Harness:
        async def rotate() -> Kms:
            await asyncio.to_thread(emulator.rotate, crn)
            return customer.kms(crn)

        return Harness(customer.kms(crn), customer.kms(emulator.create_root_key(emulator.instance)), rotate)


class TestGlobalRootKey(KmsConformance):
    """A root key of the operator's owner in place of the global key's Secret."""

    @pytest.fixture
    def harness(self, customer: Customer, emulator: Emulator, crn: str) -> Harness:
        def keys(root_key: str) -> GlobalKeys:
            return GlobalKeys(customer.owners(root_key), customer.secret, {root_key: customer.owners(root_key)})

        async def rotate() -> Kms:
            await asyncio.to_thread(emulator.rotate, crn)
            return keys(crn)

        return Harness(keys(crn), keys(emulator.create_root_key(emulator.instance)), rotate)

    async def test_a_rotation_is_followed_by_a_rewrap(self, harness: Harness) -> None:
        """As under a customer's key: its material was never readable, so no secret needs to be touched."""
        _, wrapped = await harness.kms.generate(AAD)
        look = await (await harness.rotate()).look()
        assert look.behind(wrapped.version)
        assert not look.left(wrapped.version)

    async def test_what_wrapped_before_the_switch_still_opens(self, customer: Customer, crn: str) -> None:
        """From the Secret to Key Protect and back: each opens by what wrapped it, and is to be replaced, not lost."""
        mine, secret = customer.owners(crn), customer.secret
        to, back = GlobalKeys(mine, secret, {crn: mine}), GlobalKeys(secret, secret, {crn: mine})
        for before, after in ((secret, to), (to, back)):
            made, wrapped = await before.generate(AAD)
            assert made == await after.unwrap(wrapped.ciphertext, AAD)
            look = await after.look()
            assert look.left(wrapped.version)
            assert not look.behind(wrapped.version)
        _, wrapped = await secret.generate(AAD)
        await refusal(to.rewrap(wrapped.ciphertext, AAD), Reason.TAMPERED)

    async def test_a_root_key_that_no_setting_names_is_said(self, customer: Customer, crn: str) -> None:
        """The setting was taken away too soon: it is not Tampered, and the text says which setting helps."""
        _, wrapped = await GlobalKeys(customer.owners(crn), customer.secret, {crn: customer.owners(crn)}).generate(AAD)
        without = GlobalKeys(customer.secret, customer.secret, {})
        said = await refusal(without.unwrap(wrapped.ciphertext, AAD), Reason.GLOBAL_KEY_VERSION_MISSING)
        assert crn in said.message
        assert "OPENSCALE_BYOK_GLOBAL_ROOT_KEY_FORMER" in said.message

    async def test_a_refusal_says_whose_key_it_is(self, customer: Customer, emulator: Emulator, crn: str) -> None:
        """The owner of an instance has not chosen this key: every text says that it is the global key's."""
        kms = customer.owners(crn)
        _, wrapped = await kms.generate(AAD)
        emulator.disable(crn)
        said = await refusal(kms.unwrap(wrapped.ciphertext, AAD), Reason.KEY_DISABLED)
        assert said.message.startswith("the global key: ")


async def unavailable(call: Awaitable[object], reason: Reason = Reason.KEY_PROTECT_UNAVAILABLE) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await call
    assert caught.value.reason is reason
    return caught.value


async def test_disabled_destroyed_and_back(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """A refusal says which state it comes from, found by one look, not by the status; and what comes back works."""
    kms = customer.kms(crn)
    emulator.disable(crn)
    assert (await kms.look()).state is KeyState.SUSPENDED
    await refusal(kms.unwrap(wrapped, AAD), Reason.KEY_DISABLED)
    await refusal(kms.generate(AAD), Reason.KEY_DISABLED)
    emulator.enable(crn, ignore_timing=True)
    await kms.unwrap(wrapped, AAD)
    emulator.delete(crn)
    await refusal(kms.unwrap(wrapped, AAD), Reason.KEY_DESTROYED)
    look = await kms.look()
    assert look.state is KeyState.DESTROYED
    assert look.until.startswith("20"), "until when it can be restored"
    emulator.restore(crn, ignore_timing=True)
    await kms.unwrap(wrapped, AAD)
    emulator.delete(crn)
    emulator.purge(crn, ignore_timing=True)
    await refusal(kms.unwrap(wrapped, AAD), Reason.KEY_NOT_FOUND)
    await refusal(kms.look(), Reason.KEY_NOT_FOUND)


async def test_expired(customer: Customer, emulator: Emulator, session: aiohttp.ClientSession) -> None:
    """An expired key still opens, and wraps nothing new."""
    crn = emulator.create_root_key(emulator.instance, expiration="2035-01-01T00:00:00Z")
    kms = customer.kms(crn)
    _, made = await kms.generate(AAD)
    before = emulator.now()
    emulator.set_clock(2051222400.0 + 7_200)  # two hours after 2035 began
    try:
        fresh = Customer(emulator, session, customer.service_id, customer.secrets).kms(crn)
        await fresh.unwrap(made.ciphertext, AAD)
        assert (await fresh.look()).state is KeyState.DEACTIVATED
        await refusal(fresh.generate(AAD), Reason.KEY_EXPIRED)
    finally:
        emulator.set_clock(before)


async def test_unknown_standard_and_not_granted(customer: Customer, emulator: Emulator, crn: str) -> None:
    """Each thing that a person may have got wrong has a reason of its own."""
    unknown = crn.rpartition(":")[0] + ":00000000-0000-4000-8000-000000000000"
    standard = emulator.create_root_key(emulator.instance, "standard", extractable=True)
    elsewhere = emulator.create_root_key(emulator.create_instance(), "elsewhere")
    await refusal(customer.kms(unknown).look(), Reason.KEY_NOT_FOUND)
    await refusal(customer.kms(unknown).generate(AAD), Reason.KEY_NOT_FOUND)
    await refusal(customer.kms(standard).look(), Reason.KEY_NOT_ROOT)
    await refusal(customer.kms(standard).generate(AAD), Reason.KEY_NOT_ROOT)
    error = await refusal(customer.kms(elsewhere).look(), Reason.NOT_AUTHORIZED)
    assert "Reader" in error.message


async def test_no_grant_costs_one_fresh_token(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """A 401 is believed after one fresh token, and no more are bought for it."""
    emulator.revoke(customer.service_id)
    await refusal(customer.kms(crn).unwrap(wrapped, AAD), Reason.NOT_AUTHORIZED)
    assert emulator.counts() == {"unwrap": 2, "iam.token": 1}


async def test_one_stale_token(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """A token that was refused is replaced once, and the call succeeds."""
    emulator.fault("unwrap", status=401, times=1)
    await customer.kms(crn).unwrap(wrapped, AAD)
    assert emulator.counts() == {"unwrap": 2, "iam.token": 1}


async def test_a_token_serves_many_calls(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """Calls at the same time share one token, also the first ones."""
    emulator.reset_counts()
    fresh = Customer(emulator, customer.session, customer.service_id, customer.secrets)
    await asyncio.gather(*(fresh.kms(crn).unwrap(wrapped, AAD) for _ in range(5)))
    assert emulator.counts() == {"unwrap": 5, "iam.token": 1, "metadata": 1}, "the CRN is proven once for all of them"


async def test_revoked_api_key(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """IAM's refusal is a clear no; and another API key in the Secret counts from the next look on."""
    emulator.delete_api_key(customer.secrets.api_key)
    fresh = Customer(emulator, customer.session, customer.service_id, customer.secrets).kms(crn)
    error = await refusal(fresh.unwrap(wrapped, AAD), Reason.CREDENTIALS_REFUSED)
    assert customer.secrets.api_key not in str(error)
    customer.secrets.api_key = emulator.create_api_key(customer.service_id)
    await fresh.look()
    await fresh.unwrap(wrapped, AAD)


@pytest.mark.parametrize(
    ("fault", "retry_after"),
    [
        pytest.param({"status": 500, "body": MARKER}, None, id="500"),
        pytest.param({"status": 503, "retry_after": 7}, 7.0, id="503 with Retry-After"),
        pytest.param({"status": 429, "retry_after": 30}, 30.0, id="429"),
        pytest.param({"status": 429, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None, id="429 until a date"),
        pytest.param({"status": 200, "body": f"<html>{MARKER}", "content_type": "text/html"}, None, id="HTML"),
        pytest.param({"status": 200, "body": json.dumps({"x": MARKER})}, None, id="other JSON"),
        pytest.param({"status": 200, "body": f'"{MARKER}"'}, None, id="a JSON string"),
        pytest.param({"status": 302, "body": MARKER}, None, id="a redirect"),
        pytest.param(
            {"status": 403, "body": f"<html>{MARKER}", "content_type": "text/html"}, None, id="403 of a proxy"
        ),
        pytest.param(
            {"status": 404, "body": f"<html>{MARKER}", "content_type": "text/html"}, None, id="404 of a proxy"
        ),
        pytest.param({"drop": True}, None, id="a cut connection"),
    ],
)
@pytest.mark.parametrize("operation", ["unwrap", "wrap", "rewrap", "metadata"])
async def test_trouble_is_unavailable(
    customer: Customer,
    emulator: Emulator,
    crn: str,
    wrapped: str,
    operation: str,
    fault: dict[str, object],
    retry_after: float | None,
) -> None:
    """What is no clear answer is Unavailable, says when to come back, and repeats nothing of the body."""
    kms = customer.kms(crn)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "unwrap": lambda: kms.unwrap(wrapped, AAD),
        "wrap": lambda: kms.generate(AAD),
        "rewrap": lambda: kms.rewrap(wrapped, AAD),
        "metadata": kms.look,
    }
    emulator.fault(operation, **fault)  # type: ignore[arg-type] # a table of its arguments
    error = await unavailable(calls[operation]())
    assert error.retry_after == retry_after
    assert MARKER not in repr(error)
    # The engine tries again, not the adapter; a GET on a kept connection that was cut is sent anew by HTTP's own rules.
    again = operation == "metadata" and "drop" in fault
    assert emulator.counts()[operation] == (2 if again else 1)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
async def test_a_refusal_repeats_no_body(
    customer: Customer, emulator: Emulator, crn: str, wrapped: str, status: int
) -> None:
    """Whatever a body says, it is not in the message; the correlation id is kept for support."""
    emulator.fault("unwrap", status=status, body=json.dumps({"errorMsg": MARKER}))
    with pytest.raises((Refused, Unavailable)) as caught:
        await customer.kms(crn).unwrap(wrapped, AAD)
    assert MARKER not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "reason"), [(409, Reason.KEY_DISABLED), (410, Reason.KEY_DESTROYED), (422, Reason.KEY_DISABLED)]
)
@pytest.mark.parametrize("operation", ["unwrap", "wrap", "rewrap"])
async def test_a_no_that_nobody_explains_is_a_no(
    customer: Customer, emulator: Emulator, crn: str, wrapped: str, operation: str, status: int, reason: Reason
) -> None:
    """That the metadata cannot be read takes nothing back: the status of the refused action stands."""
    kms = customer.kms(crn)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "unwrap": lambda: kms.unwrap(wrapped, AAD),
        "wrap": lambda: kms.generate(AAD),
        "rewrap": lambda: kms.rewrap(wrapped, AAD),
    }
    emulator.fault(operation, status=status)
    emulator.fault("metadata", status=503)
    said = await refusal(calls[operation](), reason)
    assert "its metadata could not be read" in said.message


FALSE = {
    "another account": lambda crn: crn.replace(crn.split(":")[6], "a/" + "f" * 32),
    "another region": lambda crn: crn.replace(":us-south:", ":eu-de:"),
    "another cloud": lambda crn: crn.replace(":bluemix:", ":staging:"),
    "another service": lambda crn: crn.replace(":kms:", ":hs-crypto:"),
}


@pytest.mark.parametrize("operation", ["look", "wrap", "unwrap", "rewrap"])
@pytest.mark.parametrize("false", FALSE.values(), ids=FALSE)
async def test_a_crn_that_key_protect_does_not_confirm(
    customer: Customer, emulator: Emulator, crn: str, wrapped: str, operation: str, false: Callable[[str], str]
) -> None:
    """The key is found by its id alone. What else its CRN says is believed by nobody: no action is even tried."""
    for kms, field_ in ((customer.kms(false(crn)), "spec.rootKey.crn"), (customer.owners(false(crn)), SETTING)):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "look": kms.look,
            "unwrap": lambda kms=kms: kms.unwrap(wrapped, AAD),
            "wrap": lambda kms=kms: kms.generate(AAD),
            "rewrap": lambda kms=kms: kms.rewrap(wrapped, AAD),
        }
        if field_ == SETTING and operation in ("unwrap", "rewrap"):
            continue  # what it wrapped carries its CRN: the one at hand is not of that one
        said = await refusal(calls[operation](), Reason.CRN_MISMATCH)
        assert field_ in said.message
        assert crn in said.message
        assert false(crn) in said.message
    assert set(emulator.counts()) <= {"metadata", "iam.token"}


SETTING = "OPENSCALE_BYOK_GLOBAL_ROOT_KEY"


ODD = ({"keyVersion": "v1"}, {"keyVersion": ["v1"]}, {"state": []}, {"state": {}}, {"state": "1"}, {"state": 4})


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_metadata_of_another_shape(customer: Customer, emulator: Emulator, crn: str, odd: object) -> None:
    """It is no answer, and no mistake of ours."""
    emulator.fault("metadata", status=200, body=json.dumps({"resources": [emulator.key(crn) | odd]}))
    await unavailable(customer.kms(crn).look())


@pytest.mark.parametrize("odd", ["x" * 257, "crn with\na line break", "", None, 7, ["crn"]])
async def test_an_answer_about_another_key(
    customer: Customer, emulator: Emulator, crn: str, wrapped: str, odd: object
) -> None:
    """Whatever stands in the place of the CRN is not repeated unless it could be one; and it proves nothing."""
    kms = customer.kms(crn)
    emulator.fault("metadata", status=200, body=json.dumps({"resources": [emulator.key(crn) | {"crn": odd}]}))
    said = await refusal(kms.look(), Reason.CRN_MISMATCH)
    assert "none that could be read" in said.message
    assert MARKER not in said.message
    await refusal(kms.unwrap(wrapped, AAD), Reason.CRN_MISMATCH)
    emulator.clear_faults()
    await kms.look()
    await kms.unwrap(wrapped, AAD)


async def test_correlation_id_is_kept(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """Support asks for the correlation id: a refusal carries it, beside a message that never changes by itself."""
    emulator.revoke(customer.service_id)
    first = await refusal(customer.kms(crn).unwrap(wrapped, AAD), Reason.NOT_AUTHORIZED)
    second = await refusal(customer.kms(crn).unwrap(wrapped, AAD), Reason.NOT_AUTHORIZED)
    assert first.message == second.message, "a message that changes makes every poll a write"
    assert first.trace
    assert first.trace != second.trace


async def test_iam_in_trouble(customer: Customer, emulator: Emulator, crn: str, wrapped: str) -> None:
    """IAM away is Unavailable by its own reason, and nothing of its answer is repeated."""
    fresh = Customer(emulator, customer.session, customer.service_id, customer.secrets).kms(crn)
    emulator.fault("iam.token", status=503, body=MARKER, retry_after=3)
    error = await unavailable(fresh.unwrap(wrapped, AAD), Reason.IAM_UNAVAILABLE)
    assert error.retry_after == 3.0
    emulator.clear_faults()
    emulator.fault("iam.token", status=200, body=json.dumps({"access": MARKER}))
    error = await unavailable(fresh.unwrap(wrapped, AAD), Reason.IAM_UNAVAILABLE)
    assert MARKER not in repr(error)


async def test_a_wait_that_is_asked_for_has_an_end(customer: Customer, emulator: Emulator, crn: str) -> None:
    """Nobody can silence us for a week: while nothing is asked, a revocation goes unnoticed."""
    for asked, kept in (("604800", MAX_RETRY_AFTER), ("inf", MAX_RETRY_AFTER), ("nan", 0.0), ("-1", 0.0), ("2", 2.0)):
        emulator.clear_faults()
        emulator.fault("metadata", status=429, retry_after=asked)
        error = await unavailable(customer.kms(crn).look())
        assert error.retry_after == kept, asked
    emulator.clear_faults()
    emulator.fault("metadata", status=429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    assert (await unavailable(customer.kms(crn).look())).retry_after is None


@pytest.mark.parametrize("status", [200, 503])
async def test_iam_is_asked_once_for_all_who_wait(
    customer: Customer, emulator: Emulator, crn: str, wrapped: str, status: int
) -> None:
    """One request, whose token or failure is everybody's: an IAM that hangs costs one time-out, not one for each."""
    fresh = Customer(emulator, customer.session, customer.service_id, customer.secrets)
    before = emulator.counts().get("iam.token", 0)
    if status != 200:
        emulator.fault("iam.token", status=status)
    kms = [fresh.kms(crn) for _ in range(20)]
    found = await asyncio.gather(*(one.unwrap(wrapped, AAD) for one in kms), return_exceptions=True)
    assert emulator.counts()["iam.token"] - before == 1
    if status != 200:
        assert {error.reason for error in found if isinstance(error, Unavailable)} == {Reason.IAM_UNAVAILABLE}
        assert len({id(error) for error in found}) == 1


async def test_a_token_is_renewed_beside(customer: Customer, emulator: Emulator) -> None:
    """Most of its life over: it serves on while IAM is asked once; away, IAM is asked again later; refused, it ends."""
    seconds = 0.0
    iam = Iam(customer.session, emulator.iam_url, now=lambda: seconds)

    async def form() -> Mapping[str, str]:
        return api_key_form(customer.secrets.api_key)

    async def token() -> str:
        found = await iam.token(form, "who", "cure")
        await asyncio.gather(*iam._flights.values(), return_exceptions=True)
        return found

    first, before = await token(), emulator.counts()["iam.token"]
    emulator.fault("iam.token", status=503)
    seconds = 3_600 * FRESH_FRACTION
    assert [await token() for _ in range(5)] == [first] * 5
    assert emulator.counts()["iam.token"] - before == 1, "not at every use"
    seconds += RENEWAL_RETRY_SECONDS
    assert await token() == first
    assert emulator.counts()["iam.token"] - before == 2
    emulator.clear_faults()
    seconds += RENEWAL_RETRY_SECONDS
    emulator.advance(1)  # tokens of one second are alike
    assert await token() == first, "renewed beside"
    second = await token()
    assert second != first
    assert emulator.counts()["iam.token"] - before == 3
    emulator.delete_api_key(customer.secrets.api_key)
    seconds += 3_600 * FRESH_FRACTION
    assert await token() == second
    with pytest.raises(Refused):
        await token()


async def test_a_host_that_hangs_takes_no_connection_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many calls as may be to one host hang: another host is answered all the same."""
    monkeypatch.setattr(http, "TO_ONE_HOST", 3)
    hanging = asyncio.Semaphore(0)
    body = json.dumps({"resources": [{"crn": "crn", "state": 1, "keyVersion": {"id": "v1"}}]}).encode()
    over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.release()
        await over.wait()
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with _server(hang) as one, _server(answer) as other, http.open_session() as session:
        calls = [asyncio.ensure_future(_bare(session, one).look()) for _ in range(5)]
        for _ in range(3):
            await hanging.acquire()
        assert hanging.locked(), "the others wait for a connection to their own host"
        assert (await _bare(session, other).look()).version == "v1"
        over.set()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_names_that_hang_hold_up_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """More names than the loop's pool has threads are looked up, and a name server answers none of them: another host
    is answered all the same, and so is whoever needs a thread for something else."""
    hanging, over, lookups = threading.Semaphore(0), threading.Event(), socket.getaddrinfo

    def look_up(host: str, *how: int, **more: int) -> list[object]:
        if host.startswith("hangs-"):
            hanging.release()
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return lookups("127.0.0.1" if host == "key-protect.example.com" else host, *how, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    body = METADATA

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, body)

    pool = min(32, (os.cpu_count() or 1) + 4)
    async with _server(serve) as url, http.open_session() as session:
        port = url.rpartition(":")[2]
        try:
            calls = [
                asyncio.ensure_future(_bare(session, f"http://hangs-{n}.example.com:{port}").look())
                for n in range(pool + 1)
            ]
            async with asyncio.timeout(20):
                assert (await _bare(session, f"http://key-protect.example.com:{port}").look()).version == "v1"
                assert await asyncio.to_thread(lambda: True)
            again = [
                asyncio.ensure_future(_bare(session, f"http://hangs-0.example.com:{port}").look()) for _ in range(9)
            ]
            await asyncio.sleep(0)
        finally:
            over.set()
        for call in (*calls, *again):
            await unavailable(call)
    assert sum(iter(lambda: hanging.acquire(blocking=False), False)) == pool + 1, "a host is looked up once"


async def test_a_redirect_is_not_followed() -> None:
    """A token never goes to where an answer points."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 307 T\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with _server(serve) as url, aiohttp.ClientSession() as session:
        await unavailable(_bare(session, url).look())
    assert asked == ["GET /api/v2/keys/k/metadata HTTP/1.1\r\n"]


async def test_a_body_in_two_pieces() -> None:
    """An answer is read to its end, however the network cuts it."""
    body = json.dumps({"resources": [{"crn": "crn", "state": 1, "keyVersion": {"id": "v1"}}]}).encode()
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        await writer.drain()
        await begun.wait()
        writer.write(body[10:])
        await writer.drain()
        writer.close()

    async def on_begun(*_: object) -> None:
        begun.set()

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(on_begun)  # the head of the answer is here, and the first piece with it
    async with _server(serve) as url, aiohttp.ClientSession(trace_configs=[trace]) as session:
        assert (await _bare(session, url).look()).version == "v1"


async def test_an_endless_body() -> None:
    """An answer that is longer than any of Key Protect's is not read to its end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with _server(serve) as url, aiohttp.ClientSession() as session:
        await unavailable(_bare(session, url).look())


METADATA = json.dumps({"resources": [{"crn": "crn", "state": 1, "keyVersion": {"id": "v1"}}]}).encode()
BODIES = {
    "little that stands for much": (gzip.compress(b" " * (1 << 27)), "gzip"),
    "no gzip at all": (METADATA, "gzip"),
    "half of it": (gzip.compress(METADATA)[:-12], "gzip"),
    "another encoding": (METADATA[::-1], "br"),
    "deep": (b"[" * 500_000, ""),
    "deep, in an object": (b'{"resources":' + b"[" * 500_000, ""),
    "deep, and whole": (b'{"resources":' * 100_000 + b"1" + b"}" * 100_000, ""),
    "a number of a million digits": (b'{"resources": ' + b"9" * 1_000_000 + b"}", ""),
}


@pytest.mark.parametrize(("body", "encoding"), BODIES.values(), ids=BODIES)
async def test_no_body_costs_much(body: bytes, encoding: str) -> None:
    """Whatever answers in Key Protect's place: it is no answer, and takes little memory to find that out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, body, encoding)

    async with _server(serve) as url, http.open_session() as session:
        tracemalloc.start()
        try:
            await unavailable(_bare(session, url).look())
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()


async def test_a_compressed_answer_is_an_answer() -> None:
    """We do not ask for it, and a proxy may do it all the same."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, gzip.compress(METADATA), "GZip")

    async with _server(serve) as url, http.open_session() as session:
        assert (await _bare(session, url).look()).version == "v1"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, encoding: str = "") -> None:
    await reader.readuntil(b"\r\n\r\n")
    named = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    head = f"HTTP/1.1 200 OK\r\n{named}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.close()


class _server:  # noqa: N801 -- used as a function
    """Somebody at a port."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._serve = serve

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


class _OneToken:
    async def token(self, *, fresh: bool = False, look: bool = False) -> Token:
        return Token("token")


def _bare(session: aiohttp.ClientSession, url: str) -> KeyProtectKey:
    from openscale_byok.resources import RootKeyCRN

    return KeyProtectKey(session, RootKeyCRN("crn", "kms", "us-south", "a", "i", "k"), url, _OneToken())
