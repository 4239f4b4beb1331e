"""The one error of this package: what went wrong, and what to do about it."""


class ClusterError(RuntimeError):
    """The local cluster cannot be had or has died; the message says why and what helps."""
