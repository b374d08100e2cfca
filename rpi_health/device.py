"""A device as the database knows it: what the read side passes on."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Union

_IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
#: What the address of an interface is called, where it is one of several values.
_NAME_KEYS = ("name", "iface", "interface", "ifname", "device")
_ADDRESS_KEYS = ("ip", "ipv4", "address", "addr", "ip_address", "ipv6")


#: CPU temperatures in °C from which a device counts as warm and as hot. A Pi throttles at 80.
WARM_CELSIUS, HOT_CELSIUS = 75.0, 80.0
#: Temperatures are judged as they are shown, with one decimal: 79.95 is shown as 80.0, and is hot.
ROUNDED_CELSIUS = 0.05


@dataclass(frozen=True)
class Device:
    """One row of `device_status`, and its state (see `hearing.STATES`). Instants are aware, in UTC; None is unknown.

    Field names carry the unit where the text as sent does not: `cpu_temp_celsius`, `mem_used_bytes`, `interval_s`.
    """

    raspberry_id: str
    state: str
    wifi_status: str | None
    mem_usage: str | None
    mem_used_bytes: int | None
    mem_percent: float | None
    cpu_temp: str | None
    cpu_temp_celsius: float | None
    cpu_percent: float | None
    gpio_used_count: int | None
    usb_devices_count: int | None
    net_bytes_sent: int | None
    net_bytes_recv: int | None
    led_internal_status: bool | None
    led_external_status: bool | None
    interval_s: float | None
    spi_buses: Any
    i2c_buses: Any
    net_ifaces: Any
    extra: Any
    report_warnings: Any
    first_seen: datetime | None
    reported_at: datetime | None
    last_update: datetime | None


#: What a table of the fleet can show, in the order in which a wider terminal shows more of it.
STATUS_COLUMNS = (
    *("id", "state", "heard", "temp", "cpu", "mem", "address", "wifi"),
    *("sent", "received", "usb", "gpio", "warnings"),
)
#: What devices can be sorted by.
SORTS = ("state", "heard", "id", "temp", "cpu", "mem")


class Selection(NamedTuple):
    """Which devices, and in which order.

    Args:
        ids: a pattern of their ids, in which `*` stands for any text and `?` for one character; None: all.
        states: only devices in one of these; none: all.
        sort: one of `SORTS`; where there is no value, a device comes last.
        reverse: the other way round.
        limit: at most so many; None: all.
    """

    ids: str | None = None
    states: tuple[str, ...] = ()
    sort: str = "state"
    reverse: bool = False
    limit: int | None = None


def address(net_ifaces: Any) -> str | None:
    """The first IP address in `net_ifaces`; a link-local one only where there is no other, the device's own never.

    Understands the example's list of objects with an `ip`, objects from the name of an interface to its address or
    addresses, and what psutil tells. In anything else: None.
    """
    found = [ip for ip in map(_ip_address, _candidates(net_ifaces)) if ip is not None and _is_of_a_network(ip)]
    return str(min(found, key=lambda ip: ip.is_link_local)) if found else None


def interfaces(net_ifaces: Any) -> list[tuple[str, list[str]]]:
    """The interfaces that `net_ifaces` names, and their IP addresses; empty where it is of another form.

    Understands objects with a name among others, and an object from names to addresses.
    """
    if isinstance(net_ifaces, dict):
        named = list(net_ifaces.items())
    elif isinstance(net_ifaces, list) and all(isinstance(each, dict) for each in net_ifaces):
        named = [(next((each[key] for key in _NAME_KEYS if key in each), None), each) for each in net_ifaces]
    else:
        return []
    if not all(isinstance(name, str) for name, _ in named):
        return []
    return [(name, [str(ip) for ip in map(_ip_address, _candidates(value)) if ip is not None]) for name, value in named]


def _candidates(net_ifaces: Any) -> Iterator[str]:
    """The texts that may be addresses: of an object that has one by name only that, for others are its netmask's."""
    if isinstance(net_ifaces, str):
        yield net_ifaces
    elif isinstance(net_ifaces, list):
        for each in net_ifaces:
            yield from _candidates(each)
    elif isinstance(net_ifaces, dict):
        named = [net_ifaces[name] for name in _ADDRESS_KEYS if name in net_ifaces]
        yield from _candidates(named or list(net_ifaces.values()))


def _ip_address(text: str) -> _IPAddress | None:
    try:
        return ipaddress.ip_address(text.strip().partition("/")[0])
    except ValueError:
        return None


def _is_of_a_network(ip: _IPAddress) -> bool:
    return not (ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_reserved)
