from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from demo_services.errors import ConfigurationError
from demo_services.settings import Settings

SERVICES_FILE = Path(__file__).parents[2] / "demo_services" / "services.yaml"


def test_the_environment_says_what_a_replica_is() -> None:
    settings = Settings.from_environment(
        "catalog",
        {
            "PORT": "18100",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=catalog-7,service.version=0.1.0",
            "SHOP_MESH_URL": "http://127.0.0.1:8081/",
            "SHOP_POOL_SIZE": "2",
            "SHOP_SERVICE_TIME_MS": "100",
            "SHOP_QUEUE_TIMEOUT_MS": "1500",
        },
    )
    assert (settings.instance, settings.port, settings.mesh_url) == ("catalog-7", 18100, "http://127.0.0.1:8081")
    assert (settings.pool_size, settings.service_time_s, settings.queue_timeout_s) == (2, 0.1, 1.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHOP_POOL_SIZE", "0"),
        ("SHOP_POOL_SIZE", "many"),
        ("SHOP_SERVICE_TIME_MS", "nan"),
        ("SHOP_QUEUE_TIMEOUT_MS", "-1"),
        ("PORT", "65536"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be .* got '{value}'"):
        Settings.from_environment("catalog", {name: value})


def test_the_base_load_uses_less_than_half_of_each_service() -> None:
    services = yaml.safe_load(SERVICES_FILE.read_text())["services"]
    # Requests a second of each service at the base load (browse 8, recommend 1, cart 1, buy 1; up to 3 items a cart),
    # and how long a request holds its worker beyond the stated time.
    base = {
        "catalog": (8, 0.0), "cart": (1 + 3 + 2, 0.01), "checkout": (1, 0.2),
        "payment": (1, 0.02), "inventory": (1, 0.02), "recommendation": (2, 0.01),
    }  # fmt: skip
    assert services.keys() == base.keys()
    for name, (rate, extra_s) in base.items():
        settings = Settings.from_environment(name, services[name]["env"])
        assert rate * (settings.service_time_s + extra_s) / settings.pool_size < 0.5, name
        assert services[name]["minimum"] <= services[name]["desired"] <= services[name]["maximum"]
