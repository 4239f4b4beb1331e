"""What is counted as one client: an address, or the network of one whose owner has many."""

import pytest

from openscale_byok.core.network import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_what_an_address_is_counted_as(address, network):
    """An IPv4 address for itself, also where it is written as one of IPv6; an IPv6 address with its /64."""
    assert network_of(address) == network
