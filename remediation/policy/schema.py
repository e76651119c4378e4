"""The JSON Schema of policy files, for editors and other people's checks: `steersman policy schema`."""

from __future__ import annotations

import json

from remediation.policy.policy import PolicyFile

ID = "https://github.com/steersman/steersman/raw/main/policies/policies.schema.json"


def schema_text() -> str:
    """As committed in policies/policies.schema.json."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID, "title": "Steersman policies"}
    return json.dumps(head | {key: value for key, value in schema.items() if key != "title"}, indent=1) + "\n"
