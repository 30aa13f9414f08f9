"""Read the options of a request, with errors that say which option is wrong and what it may be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.errors import InvalidParameter

Options = TypeVar("Options", bound=BaseModel)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def parse(options: type[Options], fields: Mapping[str, str]) -> Options:
    """Read options from the fields of a query and a form.

    Raises:
        InvalidParameter: If options are unknown or invalid. The error says what each option may be and repeats no value of the
            request. It repeats the name of an unknown option only if the name is short and plain.
    """
    try:
        return options.model_validate(fields)
    except ValidationError as error:
        places = [str(each["loc"][0]) for each in error.errors(include_input=False, include_url=False)]
    schemas = options.model_json_schema()["properties"]
    sentences = [f"{name} must be {allowed_values(schemas[name])}." for name in schemas if name in places]
    unknown = sorted(set(places) - set(schemas))
    if unknown:
        names = plain_names(unknown)
        first = f"Unknown option: {', '.join(names)}." if names else "An option is unknown."
        sentences += [first, f"The options are {listed(list(schemas), 'and')}."]
    raise InvalidParameter(" ".join(sentences), parameters=[*(name for name in schemas if name in places), *plain_names(unknown)])


def plain_names(names: Sequence[str]) -> list[str]:
    """Return the names that an error message may repeat: the first ten of at most 40 letters, digits, "_", "." and "-"."""
    return [name for name in names if _PLAIN_NAME.fullmatch(name)][:10]


def allowed_values(schema: Mapping[str, Any]) -> str:
    """Say in words which values the JSON schema of an option allows."""
    if "anyOf" in schema:
        return listed([allowed_values(each) for each in schema["anyOf"] if each.get("type") != "null"])
    if "enum" in schema:
        return listed([*map(str, schema["enum"])])
    if "const" in schema:
        return str(schema["const"])
    if schema["type"] == "boolean":
        return "true or false"
    return ("a whole number" if schema["type"] == "integer" else "a number") + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']:g}"
    if "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    return f" of at least {schema['minimum']}"


def listed(words: Sequence[str], conjunction: str = "or") -> str:
    """Return words as a list in a sentence: "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} {conjunction} {last}" if others else last
