import json

import pytest

from remediation.errors import PolicyError
from remediation.policy.book import load_policies
from remediation.policy.policy import Policy

ONE = """
policies:
  - name: NAME
    match: ['alertname="X"']
    steps:
      - name: add
        scale: {replicas: 'wanted{job="{{ target }}"}'}
        verify: {within: 20s}
"""


def write(path, text):
    path.write_text(text)
    return path


def test_first_match_wins_by_priority_and_then_across_files_in_order_of_name(tmp_path):
    special = ONE.replace("NAME", "special").replace("match:", "priority: 1\n    match:")
    write(tmp_path / "c.yaml", special.replace('"X"\'', '"X"\', \'env="prod"\''))
    write(tmp_path / "b.yaml", ONE.replace("NAME", "second").replace('alertname="X"', 'alertname=~"X.+"'))
    write(tmp_path / "a.yml", ONE.replace("NAME", "first"))
    write(tmp_path / "notes.txt", "not a policy")
    book = load_policies(tmp_path)
    assert [policy.name for policy in book.policies] == ["special", "first", "second"]
    found = book.first_match({"alertname": "X"})
    assert found is not None
    assert found.name == "first"
    assert book.first_match({"alertname": "Y"}) is None
    both = {"alertname": "X", "env": "prod"}
    assert book.first_match(both).name == "special"
    assert [policy.name for policy in book.also_matching(both)] == ["first"]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (['alertname="X"'], ['alertname="X"'], '{alertname="X"}'),
        (['alertname="X"'], ['alertname=~"X|Y"', 'env="prod"'], '{alertname="X", env="prod"}'),
        (['alertname=~"X|Y"'], ['alertname=~"Z|Y"'], '{alertname="Y"}'),
        (['alertname=~".+"'], ['alertname!="X"'], '{alertname="any-other"}'),
        (['env!="prod"'], ['alertname="X"'], '{alertname="X"}'),
        (['alertname="X"'], ['alertname="Y"'], None),
        (['alertname="X"', 'env="prod"'], ['alertname="X"', 'env!="prod"'], None),
        (['alertname=~"X|Y"'], ['alertname=~"Z"'], None),
        (['alertname=""'], ['alertname=~".+"'], None),
    ],
)
def test_two_policies_of_one_priority_that_match_the_same_alert_are_an_error(tmp_path, one, other, common):
    def text(name, match):
        return ONE.replace("NAME", name).replace("['alertname=\"X\"']", json.dumps(match))

    write(tmp_path / "a.yaml", text("first", one))
    write(tmp_path / "b.yaml", text("second", other))
    if common is None:
        assert len(load_policies(tmp_path).policies) == 2
    else:
        with pytest.raises(PolicyError) as raised:
            load_policies(tmp_path)
        assert f"b.yaml: policies 'first' and 'second' both match {common}" in str(raised.value)


def test_policy_survives_its_own_json(tmp_path):
    (policy,) = load_policies(write(tmp_path / "a.yaml", ONE.replace("NAME", "one"))).policies
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("within: 20s", "within: 20"),
            r"policies\[0\].steps\[0\].verify.within \(policy one\): .*a duration needs its unit",
        ),
        (("within: 20s", "within: 20s, hold: 30s"), "hold 30s must be shorter than within 20s"),
        (("within: 20s", "within: 20s, alert_over: false"), "nothing to verify"),
        (("within: 20s", "within: 20s, holds: 3s"), "verify.holds .*Extra inputs"),
        (("replicas:", "at_least_add: -1, replicas:"), "at_least_add"),
        (('wanted{job="{{ target }}"}', "wanted{{ target }}"), "must stand inside a double-quoted string"),
        (('alertname="X"', "alertname"), "not a matcher"),
        (("    match", "    name: again\n    match"), "key 'name' stands twice"),
        (("    match", "    target: '{{ target }}'\n    match"), "cannot be made from itself"),
        (("policies:", "policy:"), "policy: Extra inputs are not permitted"),
        (("policies:", "policies: ]"), "a.yaml: "),
    ],
)
def test_mistake_is_named_with_its_file_and_key(tmp_path, change, message):
    file = write(tmp_path / "a.yaml", ONE.replace("NAME", "one").replace(*change))
    with pytest.raises(PolicyError, match=message) as error:
        load_policies(file)
    assert str(file) in str(error.value)


def test_same_name_in_two_files_is_refused(tmp_path):
    write(tmp_path / "a.yaml", ONE.replace("NAME", "one"))
    write(tmp_path / "b.yaml", ONE.replace("NAME", "one"))
    with pytest.raises(PolicyError, match=r"policy 'one' is also in .*a\.yaml"):
        load_policies(tmp_path)


def test_folder_without_policies_is_refused(tmp_path):
    with pytest.raises(PolicyError, match=r"no \*\.yaml"):
        load_policies(tmp_path)
    with pytest.raises(PolicyError, match="no such file"):
        load_policies(tmp_path / "none")
