"""Where a data mart's password goes, how the server there is proven, and what is said where either has changed."""

from openscale_byok.crypto import certificates
from openscale_byok.crypto.context import Context, Departure, Endpoint, Proof
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import PASSWORD_FIELD, DataMart


def endpoint_of(mart: DataMart) -> Endpoint:
    """Where a data mart's password goes."""
    at = mart.spec.database
    return Endpoint(at.type, at.host, at.port, at.name, at.username)


def proof_of(mart: DataMart) -> Proof:
    """How the server there is proven."""
    return proof_by(mart.spec.database.tls, mart.spec.database.ca_bundle)


def proof_by(tls: str, ca_bundle: str | None) -> Proof:
    """How a server is proven by this TLS mode, with these certificates."""
    return Proof(tls, "" if ca_bundle is None else certificates.digest(ca_bundle))


def context_of(mart: DataMart, service_instance_id: str) -> Context:
    """What its password is sealed for, as it stands."""
    return Context(
        instance=service_instance_id,
        kind=mart.KIND,
        namespace=mart.metadata.namespace,
        name=mart.metadata.name,
        field=PASSWORD_FIELD,
        endpoint=endpoint_of(mart),
        proof=proof_of(mart),
    )


def ca_trouble(ca_bundle: str | None) -> Refused | None:
    """Why a caBundle proves no server; None where it does, or where there is none."""
    if ca_bundle is None or certificates.readable(ca_bundle):
        return None
    text = (
        "spec.database.caBundle: cannot be read as certificates, so it proves no server; put whole PEM certificates "
        "there (openssl storeutl -noout -certs FILE reads them), or take it out"
    )
    return Refused(Reason.CA_BUNDLE_INVALID, text)


def text_of(departed: Departure, given: Context, now: Context) -> str:
    """What the object says otherwise than when its password was given."""
    at, was, proof = given.endpoint, given.proof, now.proof
    if departed is Departure.TLS and was is not None and proof is not None:
        return f"spec.database.tls: was lowered from {was.tls} to {proof.tls} since the password was given"
    if departed is Departure.CA_BUNDLE and was is not None and proof is not None:
        how = "was added" if not was.ca else "holds other certificates" if proof.ca else "was taken out"
        return f"spec.database.caBundle: {how} since the password was given, so another server could prove itself"
    return (
        f"spec.database: the password was given for {at.type} {at.host}:{at.port}, database {at.database}, "
        f"user {at.username}, and goes nowhere else"
    )
