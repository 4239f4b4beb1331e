"""The gateway: OpenScale's own API, and credentials for those who may have them."""
