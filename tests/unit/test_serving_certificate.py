"""The gateway's certificate: from files that change under it, or from an authority that replicas share."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from openscale_byok.adapters.certificate_files import FileCertificate
from openscale_byok.adapters.serving_certificate import BUNDLE, OwnCertificate
from openscale_byok.adapters.tls import server_context
from openscale_byok.core.source import Source
from openscale_byok.crypto import authority
from openscale_byok.errors import Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason

START = datetime(2026, 11, 24, tzinfo=UTC)
NAMES = ("gateway.example", "127.0.0.1")
DAY = timedelta(days=1)


class Clock:
    """Time that is set."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class Store:
    """Secret and ConfigMap in memory, with the compare-and-swap of the API server."""

    def __init__(self) -> None:
        self.secret: dict[str, bytes] | None = None
        self.published: dict[str, str] | None = None
        self.version, self.writes, self.away = 0, 0, False

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable(Reason.CLUSTER_UNAVAILABLE, "away")

    def _wrote(self) -> None:
        self.version, self.writes = self.version + 1, self.writes + 1

    async def read(self, namespace, name) -> Source:
        await self._turn()
        if self.secret is None:
            raise Missing(Reason.SECRET_NOT_FOUND, "none")
        return Source("u", str(self.version), "Opaque", dict(self.secret))

    async def create_secret(self, namespace, name, values) -> Source:
        await self._turn()
        if self.secret is not None:
            raise Changed(Reason.CHANGED_MEANWHILE, "there is one")
        self._wrote()
        self.secret = dict(values)
        return Source("u", str(self.version), "Opaque", values)

    async def write_secret(self, namespace, name, resource_version, values) -> None:
        await self._turn()
        if self.secret is None or resource_version != str(self.version):
            raise Changed(Reason.CHANGED_MEANWHILE, "another")
        self._wrote()
        self.secret = {k: v for k, v in (self.secret | values).items() if v is not None}

    async def config_map(self, namespace, name) -> tuple[str, dict[str, str]]:
        await self._turn()
        if self.published is None:
            raise Missing(Reason.CHANGED_MEANWHILE, "none")
        return str(self.version), dict(self.published)

    async def write_config_map(self, namespace, name, resource_version, values) -> None:
        await self._turn()
        if resource_version != ("" if self.published is None else str(self.version)):
            raise Changed(Reason.CHANGED_MEANWHILE, "another")
        self._wrote()
        self.published = dict(values)


def own(store: Store, clock: Clock, **more) -> OwnCertificate:
    """A replica."""
    return OwnCertificate(store, "byok", "gateway-ca", NAMES, clock, **more)


def signed_by(replica: OwnCertificate) -> x509.Certificate:
    """Whose certificate the replica serves with now, as only the test may know."""
    return replica._signer


async def until(found) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110 -- whatever is waited for
            await asyncio.sleep(0.001)


def newest(store: Store) -> x509.Certificate:
    return x509.load_pem_x509_certificate(store.secret["tls.crt"])


def in_bundle(store: Store) -> int:
    return len(x509.load_pem_x509_certificates(store.published[BUNDLE].encode()))


async def test_replicas_that_start_at_once_agree():
    """Each finds nothing and creates: one wins, and all sign with what it made and published."""
    store, clock = Store(), Clock()
    replicas = await asyncio.gather(*(own(store, clock).start() for _ in range(5)))
    assert {signed_by(each).serial_number for each in replicas} == {newest(store).serial_number}
    assert store.published == {BUNDLE: store.secret["tls.crt"].decode()}
    writes = store.writes
    await asyncio.gather(*(each.look_again() for each in replicas))
    assert store.writes == writes


async def test_replicas_that_rotate_at_once_agree():
    """When a new authority is due all of them make one: one wins, and there are two in the bundle, not six."""
    store, clock = Store(), Clock()
    replicas = await asyncio.gather(*(own(store, clock).start() for _ in range(5)))
    first = newest(store)
    clock.time += 244 * DAY
    await asyncio.gather(*(each.look_again() for each in replicas))
    assert newest(store) != first
    assert in_bundle(store) == 2
    assert {signed_by(each).serial_number for each in replicas} == {first.serial_number}


async def test_a_new_authority_is_announced_for_long_before_it_signs_and_the_old_one_until_it_is_over():
    """Made at 2/3, signs from 5/6 on, alone in the bundle once the former is over; and so on for three years."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    announced = {newest(store).serial_number: START}
    for _ in range(3 * 365):
        clock.time += DAY
        bundle = x509.load_pem_x509_certificates(store.published[BUNDLE].encode())
        await replica.look_again()
        signer = signed_by(replica)
        assert signer in bundle, "a client with yesterday's bundle would refuse today's certificate"
        announced.setdefault(newest(store).serial_number, clock.time)
        assert signer.serial_number == min(announced, key=announced.get) or (
            clock.time - announced[signer.serial_number] >= 28 * DAY
        )
        assert signer.not_valid_after_utc > clock.time
        assert in_bundle(store) <= 2
    assert len(announced) == 5


async def test_a_late_new_authority_is_announced_as_long_as_it_can_be():
    """Nobody ran when it was due: the old one signs on, to its last day."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    first = newest(store)
    clock.time += 350 * DAY
    await replica.look_again()
    assert newest(store) != first
    assert signed_by(replica) == first
    clock.time = first.not_valid_after_utc
    await replica.look_again()
    assert signed_by(replica) == newest(store)
    assert in_bundle(store) == 1


async def test_the_certificate_is_renewed_at_two_thirds_of_its_time():
    """Seven days; the same context until 4 2/3 days are over, then another."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    context = replica.context
    clock.time += 4.6 * DAY
    await replica.look_again()
    assert replica.context is context
    clock.time += 0.1 * DAY
    await replica.look_again()
    assert replica.context is not context


async def test_a_secret_that_was_deleted_is_made_anew_and_the_bundle_names_no_other():
    """That is how an owner gets rid of an authority."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    first, store.secret = newest(store), None
    await replica.look_again()
    assert signed_by(replica) == newest(store) != first
    assert store.published == {BUNDLE: store.secret["tls.crt"].decode()}


@pytest.mark.parametrize("published", [None, {}, {BUNDLE: "something else"}])
async def test_a_bundle_that_was_changed_is_put_right(published):
    """Deleted, emptied or edited: it says again what the Secret says."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    right, store.published = store.published, published
    await replica.look_again()
    assert store.published == right


async def test_an_empty_secret_is_filled():
    """A chart may make it, so that the gateway needs no right to create any."""
    store = Store()
    store.secret = {}
    replica = await own(store, Clock()).start()
    assert signed_by(replica) == newest(store)


def other_key() -> bytes:
    return authority.private_pem(ec.generate_private_key(ec.SECP256R1()))


EDITS = {
    "no certificate": {"tls.crt": b"c4n4ry"},
    "no key": {"tls.key": b"c4n4ry"},
    "another key": {"tls.key": other_key()},
    "half a former": {"former.crt": b"c4n4ry"},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_a_secret_that_was_edited_is_refused_by_name_and_what_is_served_goes_on(edit):
    """At a start it is refused with the cure; while the gateway serves it changes nothing."""
    store, clock = Store(), Clock()
    replica = await own(store, clock).start()
    context = replica.context
    store.secret |= edit
    edited = dict(store.secret)
    with pytest.raises(Refused) as refused:
        await own(store, clock).start()
    assert refused.value.reason is Reason.CERTIFICATE_INVALID
    for text in ("byok/gateway-ca", "OPENSCALE_BYOK_GATEWAY_AUTHORITY", "delete it", *edit):
        assert text in refused.value.message
    assert "c4n4ry" not in refused.value.message
    with pytest.raises(Refused):
        await replica.look_again()
    assert (replica.context, store.secret) == (context, edited)


async def test_following_survives_an_api_server_that_is_away():
    """The certificate before serves on, and the next look that succeeds renews it."""
    store, clock = Store(), Clock()
    replica = await own(store, clock, seconds=0.001).start()
    context, store.away = replica.context, True
    clock.time += 5 * DAY
    following = asyncio.create_task(replica.follow())
    await until(lambda: replica._trouble)
    assert replica.context is context
    store.away = False
    await until(lambda: replica.context is not context)
    following.cancel()


@pytest.mark.parametrize("names", [(), ("",), ("a b",), ("ü.example",), ("-a",), ("a..b",), ("x" * 64,)])
def test_a_name_that_no_certificate_can_have_is_refused_by_setting(names):
    """Before anything is asked or made."""
    with pytest.raises(Refused) as refused:
        OwnCertificate(Store(), "byok", "gateway-ca", names, Clock())
    assert "OPENSCALE_BYOK_GATEWAY_NAMES" in refused.value.message


def test_openssl_verifies_what_we_make_strictly(tmp_path):
    """OpenSSL's own tool, with its strict rules: chain, purpose, host name and address; and another name is refused."""
    now = datetime.now(UTC)
    first = authority.create(ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number(), now)
    leaf = authority.leaf(first, ec.generate_private_key(ec.SECP256R1()), 7, NAMES, now)
    bundle, certificate = tmp_path / "ca.crt", tmp_path / "leaf.crt"
    bundle.write_text(authority.Authorities(first).bundle(now))
    certificate.write_bytes(authority.pem(leaf))
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(bundle)]
    for more, right in [
        (["-verify_hostname", NAMES[0]], True),
        (["-verify_ip", NAMES[1]], True),
        (["-verify_hostname", "other.example"], False),
    ]:
        done = subprocess.run([*verify, *more, str(certificate)], capture_output=True, text=True)
        assert (done.returncode == 0) is right, done.stderr


# Files -------------------------------------------------------------------------------------------------


def pair(serial: int) -> tuple[bytes, bytes]:
    """A certificate and its key, PEM."""
    signer = authority.create(ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number(), START)
    key = ec.generate_private_key(ec.SECP256R1())
    made = authority.leaf(signer, key, serial, NAMES, START)
    return authority.pem(made) + authority.pem(signer.certificate), authority.private_pem(key)


ONE, TWO = pair(1), pair(2)


@pytest.fixture
def files(tmp_path):
    """The two files, written as a Secret's volume is: a link to a folder, which is changed at once."""

    def write(certificate: bytes, key: bytes) -> None:
        folder = tmp_path / f"..{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "tls.crt").write_bytes(certificate)
        (folder / "tls.key").write_bytes(key)
        (tmp_path / "..next").symlink_to(folder.name)
        (tmp_path / "..next").rename(tmp_path / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (tmp_path / name).is_symlink():
                (tmp_path / name).symlink_to(f"..data/{name}")

    write(*ONE)
    return write


@pytest.fixture
def from_files(files, tmp_path):
    """A start of the gateway, so to speak."""
    return lambda **more: FileCertificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"), Clock(), **more)


def test_files_that_change_count_and_the_same_ones_are_not_read_again(files, from_files):
    """By the link of a Secret's volume; no look but the one after a change makes another context."""
    served = from_files()
    first = served.context
    served.look_again()
    assert served.context is first
    files(*TWO)
    served.look_again()
    second = served.context
    assert second is not first
    served.look_again()
    assert served.context is second


def encrypted() -> bytes:
    key = serialization.load_pem_private_key(ONE[1], None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"c4n4ry"),
    )


BROKEN = {
    "not PEM": (b"c4n4ry", ONE[1], "OPENSCALE_BYOK_GATEWAY_CERTIFICATE"),
    "no key": (ONE[0], b"c4n4ry", "OPENSCALE_BYOK_GATEWAY_PRIVATE_KEY"),
    "another key": (ONE[0], TWO[1], "the private key is not that of the certificate"),
    "encrypted": (ONE[0], encrypted(), "the private key is encrypted"),
    "empty": (b"", b"", "OPENSCALE_BYOK_GATEWAY_CERTIFICATE"),
}


@pytest.mark.parametrize(("certificate", "key", "text"), BROKEN.values(), ids=BROKEN)
def test_a_broken_pair_is_refused_by_setting_and_keeps_the_one_before(files, from_files, certificate, key, text):
    """While serving: the log says so, once; at a start: refused. The next good pair counts again."""
    served = from_files()
    first = served.context
    files(certificate, key)
    served.look_again()
    served.look_again()
    assert served.context is first
    with pytest.raises(Refused) as refused:
        from_files()
    assert text in refused.value.message
    assert "c4n4ry" not in refused.value.message
    files(*TWO)
    served.look_again()
    assert served.context is not first


def test_files_that_are_not_there_are_refused_by_setting(tmp_path):
    """Either of them, by its name and its path."""
    (tmp_path / "c").write_bytes(ONE[0])
    for certificate, key, setting in (("x", "c", "GATEWAY_CERTIFICATE"), ("c", "x", "GATEWAY_PRIVATE_KEY")):
        with pytest.raises(Refused) as refused:
            FileCertificate(str(tmp_path / certificate), str(tmp_path / key), Clock())
        assert setting in refused.value.message
        assert str(tmp_path / "x") in refused.value.message


def test_a_pair_that_is_written_one_by_one_counts_once_it_fits(tmp_path, from_files, files):
    """Between the two writes it does not fit: the one before serves on."""
    served = from_files()
    first = served.context
    (tmp_path / "tls.crt").write_bytes(TWO[0])
    served.look_again()
    assert served.context is first
    (tmp_path / "tls.key").write_bytes(TWO[1])
    served.look_again()
    assert served.context is not first


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_context_is_made_without_a_disk_and_without_rights():
    """As in a pod: not root, core dumps off (which closes /proc/self to others), nothing written to any file system."""
    code = (
        "import sys; from openscale_byok.adapters.tls import server_context;"
        "from openscale_byok.shell.app import no_core_dumps; import os;"
        "c, k = sys.stdin.buffer.read().split(b'|'); os.setgid(65534); os.setuid(65534); no_core_dumps();"
        "server_context(c, k); print('made')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"|".join(ONE), capture_output=True)
    assert done.stdout == b"made\n", done.stderr


def test_a_key_in_front_of_nothing_is_no_certificate():
    """What OpenSSL says is left out but for its reason."""
    with pytest.raises(ValueError, match="not a certificate and a private key in PEM"):
        server_context(b"", ONE[1])
