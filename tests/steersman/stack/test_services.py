from __future__ import annotations

from pathlib import Path

import pytest

from steersman.errors import ServicesFileError
from steersman.stack.services import load_services, shop_services_file


def test_shop_s_own_services_file_is_valid():
    names = [service.name for service in load_services(shop_services_file())]
    assert {"catalog", "cart", "checkout", "payment", "inventory", "recommendation"} <= set(names)


def test_desired_is_the_minimum_unless_given_and_values_become_text(tmp_path: Path):
    path = tmp_path / "services.yaml"
    path.write_text("services: {a: {command: [x], minimum: 2, maximum: 3, env: {A: 1, B: true, C: 0.5, D: s}}}")
    (service,) = load_services(path)
    assert service.desired == 2
    assert service.env == {"A": "1", "B": "true", "C": "0.5", "D": "s"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {}", "services"),
        ("[]", "top"),
        ("a: [", "cannot read services file"),
        ("services: {a: {minimum: 1}}", "services.a.command"),
        ("services: {a: {command: []}}", "services.a.command"),
        ("services: {a: {command: [x], desired: 9, maximum: 2}}", "desired 9 is outside minimum 1..maximum 2"),
        ("services: {a: {command: [x], maximum: 1000}}", "services.a.maximum"),
        ("services: {a: {command: [x], replicas: 2}}", "services.a.replicas"),
        ("services: {../a: {command: [x]}}", "service name '../a'"),
        ("services: {A`: {command: [x]}}", "service name 'A`'"),
    ],
)
def test_bad_services_file_is_refused_with_the_key_at_fault(tmp_path: Path, text: str, words: str):
    path = tmp_path / "services.yaml"
    path.write_text(text)
    with pytest.raises(ServicesFileError) as caught:
        load_services(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
