"""Builds the images without a daemon: the layers from Debian's packages and the locked wheels, as an OCI layout."""
