"""Which address of a device is shown, whatever it sends as `net_ifaces`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpi_health.device import address
from rpi_health.example import REPORT


@pytest.mark.parametrize(
    ("net_ifaces", "expected"),
    [
        (REPORT["net_ifaces"], "192.168.0.10"),
        ([{"name": "lo", "ip": "127.0.0.1"}, {"name": "eth0", "ip": "10.0.0.2"}], "10.0.0.2"),
        ({"lo": "127.0.0.1", "wlan0": "10.0.0.2"}, "10.0.0.2"),
        ({"wlan0": {"ip": "10.0.0.2"}}, "10.0.0.2"),
        ({"wlan0": ["fe80::1", "10.0.0.2"]}, "10.0.0.2"),
        (["10.0.0.2", "10.0.0.3"], "10.0.0.2"),
        ("10.0.0.2", "10.0.0.2"),
        ("10.0.0.2/24", "10.0.0.2"),
        ({"eth0": [{"family": 17, "address": "dc:a6:32:00:00:01"}, {"address": "10.0.0.2"}]}, "10.0.0.2"),
        ({"gateway": "10.0.0.1", "netmask": "255.255.255.0", "address": "10.0.0.2"}, "10.0.0.2"),
        ({"wlan0": {"netmask": "255.255.255.0", "inet": "10.0.0.2"}}, "10.0.0.2"),
        (["2001:0db8:0000:0000:0000:0000:0000:0001"], "2001:db8::1"),
        (["fe80::1"], "fe80::1"),
        (["wlan0", "eth0"], None),
        (["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1"], None),
        ([], None),
        ({}, None),
        (None, None),
        (5, None),
        (True, None),
        ([[["10.0.0.2"]]], "10.0.0.2"),
        ({"ip": None, "wlan0": "10.0.0.2"}, None),
    ],
)
def test_first_address_of_a_network_is_found(net_ifaces: Any, expected: str | None) -> None:
    assert address(net_ifaces) == expected


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    )
)
def test_any_json_has_an_address_or_none(net_ifaces: Any) -> None:
    assert address(net_ifaces) is None or address([address(net_ifaces)]) == address(net_ifaces)
