"""The gateway's serving certificate from two files, as cert-manager or an administrator keep them up to date."""

import asyncio
import ssl
from pathlib import Path

import structlog
from cryptography import x509

from openscale_byok.adapters.tls import server_context
from openscale_byok.errors import Refused
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

log = structlog.get_logger("openscale_byok")

LOOK_SECONDS = 5.0
_CERTIFICATE, _PRIVATE_KEY = "OPENSCALE_BYOK_GATEWAY_CERTIFICATE", "OPENSCALE_BYOK_GATEWAY_PRIVATE_KEY"


class FileCertificate:
    """Certificate and key from two files, read again when either changes.

    A Secret's volume changes by one symbolic link for both files, so the files that the names lead to are looked at.
    """

    def __init__(self, certificate: str, private_key: str, clock: Clock, *, seconds: float = LOOK_SECONDS) -> None:
        """Read them.

        Args:
            certificate: path of the PEM file with the certificate, and whatever leads to its authority.
            private_key: path of the PEM file with its key.
            clock: for the warning about a certificate that is over.
            seconds: between two looks.

        Raises:
            Refused: they cannot be used; the message names the setting.
        """
        self._certificate, self._private_key = Path(certificate), Path(private_key)
        self._clock = clock
        self._seconds = seconds
        self._seen = self._look()
        self._context = self._read()

    @property
    def context(self) -> ssl.SSLContext:
        """See `serving_certificate.ServingCertificate`."""
        return self._context

    async def follow(self) -> None:
        """See `serving_certificate.ServingCertificate`."""
        while True:
            await asyncio.sleep(self._seconds)
            self.look_again()

    def look_again(self) -> None:
        """Read the files, if they are others by now. A pair that cannot be used changes nothing."""
        seen = self._look()
        if seen == self._seen:
            return
        # Looked at before they are read: what changes in between is read at the next look.
        self._seen = seen
        try:
            self._context = self._read()
        except Refused as error:
            log.error("the serving certificate changed and cannot be used; the one before it serves on",
                      reason=error.reason.value, message=error.message)  # fmt: skip
        else:
            log.info("the serving certificate changed")

    def _look(self) -> list[tuple[str, int, int, int, int] | None]:
        return [_standing(path) for path in (self._certificate, self._private_key)]

    def _read(self) -> ssl.SSLContext:
        certificates, key = _bytes(self._certificate, _CERTIFICATE), _bytes(self._private_key, _PRIVATE_KEY)
        try:
            until = x509.load_pem_x509_certificate(certificates).not_valid_after_utc
        except ValueError:
            text = f"{_CERTIFICATE}: {self._certificate} holds no certificate in PEM"
            raise Refused(Reason.CERTIFICATE_INVALID, text) from None
        try:
            context = server_context(certificates, key)
        except ValueError as error:
            text = f"{_CERTIFICATE}, {_PRIVATE_KEY}: {error}"
            raise Refused(Reason.CERTIFICATE_INVALID, text) from None
        if until <= self._clock.now():
            log.warning("the serving certificate is over; clients will refuse it", until=until.isoformat())
        return context


def _standing(path: Path) -> tuple[str, int, int, int, int] | None:
    try:
        found = path.stat()
        return str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    except OSError:
        return None


def _bytes(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"{setting}: {path} cannot be read ({type(error).__name__})"
        raise Refused(Reason.CERTIFICATE_INVALID, text) from None
