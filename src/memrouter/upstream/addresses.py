"""Which IP addresses a client may make this router call (pure)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = IPv6Network("::/96")


def is_public(address: str | Address) -> bool:
    """Whether an address belongs to the public internet, whatever it is wrapped in.

    Not public: loopback, private, shared, link-local (cloud metadata), multicast, reserved and
    unspecified addresses, and IPv6 forms that only carry an IPv4 address or lead to one.
    """
    try:
        ip = ip_address(address) if isinstance(address, str) else address
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return ip.is_global and not ip.is_multicast
    if ip.scope_id is not None or ip.ipv4_mapped is not None:
        return False
    wrapped = (*_NAT64, _6TO4, _TEREDO, _TRANSLATED, _COMPATIBLE)
    if any(ip in network for network in wrapped):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_site_local
