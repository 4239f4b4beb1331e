"""The rules of the gateway's own certificate authority: what its Secret holds, which authority signs, for how long.

An authority is announced long before it signs, and stays announced until it expires:

    authority 1:  signs ─────────────────────────────────────────┐ stays in the bundle ── expires
    authority 2:              made and in the bundle (2/3) ──────┴─ signs (5/6) ──────────────────

So a client with the bundle of yesterday verifies the certificates of today, whichever replica made them. All of it
follows from the authorities' own dates: no word in the Secret says who signs, and replicas need not tell each other.
Time, keys and serial numbers are handed in.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

CERTIFICATE, PRIVATE_KEY = "tls.crt", "tls.key"
FORMER_CERTIFICATE, FORMER_PRIVATE_KEY = "former.crt", "former.key"
SKEW = timedelta(hours=1)
"""How far clocks may be apart: every certificate is valid from this long before it was made."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long certificates are valid. Each is renewed at two thirds of its time."""

    authority: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=7)


TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority: its certificate, and the key that signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def made(self) -> datetime:
        """When it was made."""
        return self.certificate.not_valid_before_utc + SKEW

    @property
    def expires(self) -> datetime:
        """When it ends."""
        return self.certificate.not_valid_after_utc

    def after(self, numerator: int, denominator: int) -> datetime:
        """The moment at which this fraction of its time is over."""
        return self.made + (self.expires - self.made) * numerator / denominator


@dataclass(frozen=True, slots=True)
class Authorities:
    """What the Secret holds: the newest authority, and the one before it where that is not forgotten yet."""

    newest: Authority
    former: Authority | None = None

    def due(self, now: datetime) -> bool:
        """Whether another one should be made: two thirds of the newest one's time are over."""
        return now >= self.newest.after(2, 3)

    def signer(self, now: datetime) -> Authority:
        """Who signs now: the former, until the newest was announced for long; a late one is announced as long."""
        former = self.former
        if former is None or now >= min(max(former.after(5, 6), self.newest.after(1, 12)), former.expires):
            return self.newest
        return former

    def bundle(self, now: datetime) -> str:
        """What clients are to trust: every authority that is not over, the newest first; PEM."""
        every = [self.newest, *filter(None, [self.former])]
        return "".join(pem(each.certificate).decode("ascii") for each in every if now < each.expires)

    def followed_by(self, newest: Authority) -> "Authorities":
        """With another one made. Only one former is kept: the one before it has been over for long."""
        return Authorities(newest, self.newest)

    def values(self) -> dict[str, bytes | None]:
        """The Secret's values; None: a value that must not be there."""
        former = self.former
        return {
            CERTIFICATE: pem(self.newest.certificate),
            PRIVATE_KEY: private_pem(self.newest.key),
            FORMER_CERTIFICATE: None if former is None else pem(former.certificate),
            FORMER_PRIVATE_KEY: None if former is None else private_pem(former.key),
        }


def create(key: ec.EllipticCurvePrivateKey, serial: int, now: datetime, terms: Terms = TERMS) -> Authority:
    """A new authority. Its name holds its serial number: no two are mistaken for each other."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"openscale-byok gateway {serial:x}"[:64])])
    builder = _builder(name, name, key, serial, now, now + terms.authority)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def leaf(
    signer: Authority,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    names: Sequence[str],
    now: datetime,
    terms: Terms = TERMS,
) -> x509.Certificate:
    """A serving certificate for these names; it never outlives its authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "openscale-byok gateway")])
    until = min(now + terms.leaf, signer.expires)
    builder = _builder(subject, signer.certificate.subject, key, serial, now, until)
    builder = builder.add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return builder.add_extension(issuer, critical=False).sign(signer.key, hashes.SHA256())


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address, as a certificate names it.

    Raises:
        Refused: it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    if len(name) > 253 or not all(0 < len(label) < 64 and _is_label(label) for label in labels):
        text = f"OPENSCALE_BYOK_GATEWAY_NAMES: {name[:80]!r} is neither a host name nor an address"
        raise Refused(Reason.CERTIFICATE_INVALID, text)
    return x509.DNSName(name)


def _is_label(label: str) -> bool:
    return label.isascii() and label.replace("-", "a").isalnum() and label[0] != "-" and label[-1] != "-"


def parse(values: Mapping[str, bytes], where: str) -> Authorities:
    """Read the Secret's values; *where* names it in messages.

    Raises:
        Refused: they are not what we would write.
    """
    newest = _authority(values, CERTIFICATE, PRIVATE_KEY, where)
    has_former = FORMER_CERTIFICATE in values or FORMER_PRIVATE_KEY in values
    return Authorities(
        newest, _authority(values, FORMER_CERTIFICATE, FORMER_PRIVATE_KEY, where) if has_former else None
    )


def _authority(values: Mapping[str, bytes], certificate: str, key: str, where: str) -> Authority:
    cure = f"the authority in {where} was changed: delete it, and a new one is made; clients then need its new bundle"
    try:
        found = x509.load_pem_x509_certificate(values[certificate])
        private = serialization.load_pem_private_key(values[key], password=None)
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
        found.verify_directly_issued_by(found)
    except (KeyError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        # The libraries' words are left out: they may quote what they could not read.
        text = f"{certificate} and {key} are not a certificate that signed itself and its key; {cure}"
        raise Refused(Reason.CERTIFICATE_INVALID, text) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise Refused(Reason.CERTIFICATE_INVALID, f"{key} is not the key of {certificate}; {cure}")
    if not constraints.ca:
        raise Refused(Reason.CERTIFICATE_INVALID, f"{certificate} may not sign others; {cure}")
    return Authority(found, private)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted: for a Secret, or for memory."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(now - SKEW).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
