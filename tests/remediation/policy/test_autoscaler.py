import pytest

from remediation.errors import PolicyError
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.book import load_policies
from steersman.runtime.paths import shipped

ONE = """
autoscalers:
  - name: shop
    services: [catalog, cart]
    tracking:
      - utilisation: 'busy{job="{{ target }}"}'
        per: instance
        target: 0.6
    maximum: 6
    schedule:
      - {name: office hours, cron: '0 8 * * mon-fri', for: 10h, location: Europe/Berlin, minimum: 3}
    forecast:
      load: 'arrivals{job="{{ target }}"}'
      per_replica: 12
"""


def test_file_may_hold_autoscalers_alone(tmp_path):
    (tmp_path / "a.yaml").write_text(ONE)
    book = load_policies(tmp_path)
    assert [one.name for one in book.autoscalers] == ["shop"]
    assert Autoscaler.model_validate_json(book.autoscalers[0].model_dump_json()) == book.autoscalers[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[catalog, cart]", "[catalog, catalog]"), r"autoscalers\[0\].services \(autoscaler shop\): .*'catalog'"),
        (("[catalog, cart]", "['cat alog']"), "String should match pattern"),
        (("{{ target }}", "{{ labels.job }}"), "there is no alert here, only {{ target }}"),
        (("target: 0.6", "target: 0"), "greater than 0"),
        (("maximum: 6", "maximum: 2"), "schedule 'office hours' wants 3 replicas, maximum 2"),
        (("maximum: 6", "maximum: 6\n    minimum: 7"), "maximum 6 is below minimum 7"),
        (("per_replica: 12", "per_replica: 12\n      season: 7d\n      history: 10d"), "must hold two seasons"),
        (("per_replica: 12", "per_replica: 12\n      step: 7s\n      season: 1d"), "must be a multiple of step"),
        (("per_replica: 12", "per_replica: 12\n      step: 10s"), "steps, limit 11000"),
        (("per_replica: 12", "per_replica: 12\n      ahead: 2d"), "ahead"),
        (("per_replica: 12", "per_replica: -1"), "per_replica"),
        (("tracking:", "tracked:"), "tracking .*Field required"),
        (("autoscalers:", "policies: []\nautoscalers: []\nxs:"), "xs"),
    ],
)
def test_mistake_is_named_with_its_file_and_key(tmp_path, change, message):
    file = tmp_path / "a.yaml"
    file.write_text(ONE.replace(*change))
    with pytest.raises(PolicyError, match=message) as error:
        load_policies(file)
    assert str(file) in str(error.value)


def test_file_with_neither_policies_nor_autoscalers_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("limits: {max_concurrent: 3}\n")
    with pytest.raises(PolicyError, match="neither policies nor autoscalers"):
        load_policies(tmp_path)


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [("other", "[cart]", "autoscalers 'shop' and 'other' both scale 'cart'"), ("shop", "[x]", "'shop' is also in")],
)
def test_one_service_has_one_autoscaler(tmp_path, name, services, message):
    (tmp_path / "a.yaml").write_text(ONE)
    (tmp_path / "b.yaml").write_text(ONE.replace("name: shop", f"name: {name}").replace("[catalog, cart]", services))
    with pytest.raises(PolicyError, match=message):
        load_policies(tmp_path)


def test_published_example_is_valid():
    book = load_policies(shipped("policies") / "examples")
    assert [one.services for one in book.autoscalers] == [("catalog",)]
    assert load_policies(shipped("policies")).autoscalers == (), "an example is not in force"
