"""What one client has of the network: all that it can send from is counted as one."""

from ipaddress import IPv6Address, ip_address, ip_network

_IPV6_PREFIX = 64
"""The smallest network that anybody is given: in it every client has as many addresses as it likes."""


def network_of(address: str) -> str:
    """An IPv4 address as it is; the /64 of an IPv6 address, also of one with a scope; else what was given."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), _IPV6_PREFIX), strict=False))
