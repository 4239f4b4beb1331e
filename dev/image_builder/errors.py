"""What can go wrong in a build, in words for whoever builds."""


class BuildError(Exception):
    """The image cannot be built; the message names the cause and the cure."""
