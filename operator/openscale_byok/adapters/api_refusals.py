"""What a refusal of the API server means to whoever asked: an error of ours, which repeats nothing of its body."""

from openscale_byok.errors import Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason


def refusal(status: int, *, what: str, secret: bool, retry_after: float | None) -> Refused | Unavailable | Missing:
    """The error for an HTTP status of 300 or more. The body is left out: a Status message may quote what was sent.

    Args:
        status: of the answer.
        what: the object, as a person would call it; shown in the message.
        secret: it is one that its owner must let us read.
        retry_after: seconds that the API server asked us to wait, where it did.
    """
    if status == 404:
        return Missing(Reason.CHANGED_MEANWHILE, f"{what} does not exist")
    if status in (409, 410):
        return Changed(Reason.CHANGED_MEANWHILE, f"{what} changed since it was read")
    if status in (401, 403) and secret:
        text = f"the operator may not read {what} here; its owner grants that with a RoleBinding in this namespace"
        return Unavailable(Reason.SECRET_FORBIDDEN, text)
    if status in (400, 413, 422):
        return Refused(Reason.INVALID_OBJECT, f"the API server refuses {what} (status {status})")
    text = f"the API server answers {status} for {what}"
    return Unavailable(Reason.CLUSTER_UNAVAILABLE, text, retry_after=retry_after)


def seconds(text: str | None) -> float | None:
    """A header ``Retry-After`` in seconds; None where there is none that we could read."""
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
