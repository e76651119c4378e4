"""
The JSON Schema of a drill's definition, for editors and for other tools. It is committed as docs/drill.schema.json:

    python -m remediation.drills.schema > docs/drill.schema.json
"""

from __future__ import annotations

import json
from typing import Any

from remediation.drills.definition import Definition


def schema() -> dict[str, Any]:
    """What one key allows. What keys allow together (exactly one check, earlier events) only `drill check` knows."""
    made = Definition.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Steersman drill",
        "description": "See docs/drills.md. `steersman drill check FILE` also checks what a schema cannot say.",
    }


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
