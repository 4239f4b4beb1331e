"""What can go wrong, in words for whoever started the node."""


class NodeError(Exception):
    """The node cannot run; the message names the cause and the cure."""
