from __future__ import annotations

from dataclasses import asdict

import pytest

from steersman.runtime.ports import HIGHEST_PORT, REPLICA_PORT_COUNT, Ports


def test_offset_moves_every_port():
    unmoved, moved = asdict(Ports()), asdict(Ports.at(2000))
    assert {name: port + 2000 for name, port in unmoved.items()} == moved


def test_no_two_uses_share_a_port():
    ports = asdict(Ports())
    base = ports.pop("replica_base")
    assert len(set(ports.values())) == len(ports)
    assert not any(base <= port < base + REPLICA_PORT_COUNT for port in ports.values())


@pytest.mark.parametrize("offset", [-3000, HIGHEST_PORT, HIGHEST_PORT - 18100 - 398])
def test_offset_that_leaves_the_range_is_refused(offset: int):
    with pytest.raises(ValueError, match=f"port offset {offset} moves a port outside"):
        Ports.at(offset)


@pytest.mark.parametrize("offset", [-2999, HIGHEST_PORT - 18100 - 399])
def test_offset_at_the_edge_is_allowed(offset: int):
    Ports.at(offset)
