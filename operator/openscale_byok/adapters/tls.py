"""A server's TLS context from a certificate and a key in memory: TLS 1.2 and 1.3, forward secrecy, no renegotiation."""

import os
import ssl

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption. Those of TLS 1.3 are all so."""


def server_context(certificates: bytes, private_key: bytes) -> ssl.SSLContext:
    """A context that serves with this certificate, followed by whatever leads to its authority; PEM.

    Raises:
        ValueError: they do not fit together, or cannot be read. The text is ours.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    # The ssl module reads from files only. This one is anonymous memory, gone with its descriptor: the key is on no
    # disk, and a root file system that is read-only is no obstacle.
    descriptor = os.memfd_create("serving-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(private_key.rstrip() + b"\n" + certificates)
        # Without a password to answer with, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ValueError(_text(error)) from None
    finally:
        os.close(descriptor)
    return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted; decrypt it first")


def _text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the private key is not that of the certificate"
        return f"not a certificate and a private key in PEM that OpenSSL can use ({error.reason or 'no PEM'})"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
