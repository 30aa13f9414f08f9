"""Write the settings of the service into the schema of the chart's values: `make chart`."""

import json
from pathlib import Path
from typing import Any

from service.settings import Settings

SCHEMA = Path(__file__).parent / "n3denoise" / "values.schema.json"
FIXED = {"host", "port", "web_concurrency", "WEB_CONCURRENCY"}
"""Settings that the chart relies on, so that its values cannot change them."""


def schema_of_settings() -> dict[str, Any]:
    """Return the JSON schema of the value `settings`: types and ranges as the service checks them."""
    described = Settings.model_json_schema()["properties"]
    return {name: schema_of_setting(facts) for name, facts in sorted(described.items()) if name not in FIXED}


def schema_of_setting(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of one setting, whose default stays that of the service."""
    if facts.get("type") == "array":  # in an environment variable, separated by commas
        return {"type": "string", "description": facts["description"]}
    (kind,) = [each for each in facts.get("anyOf", [facts]) if each.get("type") != "null"]
    return {name: value for name, value in {**kind, **facts}.items() if name not in ("anyOf", "default", "title")}


def main() -> None:
    """Write the schema."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"]["properties"] = schema_of_settings()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
