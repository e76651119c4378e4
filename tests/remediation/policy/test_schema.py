from remediation.policy.schema import schema_text
from steersman.runtime.paths import shipped


def test_published_schema_is_what_the_code_says():
    assert (shipped("policies") / "policies.schema.json").read_text() == schema_text(), "steersman policy schema"
