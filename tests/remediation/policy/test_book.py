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


def test_first_match_wins_across_files_in_order_of_name(tmp_path):
    write(tmp_path / "b.yaml", ONE.replace("NAME", "second"))
    write(tmp_path / "a.yml", ONE.replace("NAME", "first"))
    write(tmp_path / "notes.txt", "not a policy")
    book = load_policies(tmp_path)
    assert [policy.name for policy in book.policies] == ["first", "second"]
    found = book.first_match({"alertname": "X"})
    assert found is not None
    assert found.name == "first"
    assert book.first_match({"alertname": "Y"}) is None


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
        (("policies:", "policy:"), "policies: Field required"),
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
