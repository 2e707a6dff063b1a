"""Checks the document on standard input against the meta schemas: OpenAPI 3.1 and, for its schemas, JSON Schema."""

import json
import sys

import jsonschema_rs
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR


def schemas(value):
    """Every schema of the document: the components, and what stands below a member `schema`."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "schema":
                yield member
            elif name == "schemas":
                yield from member.values()
            else:
                yield from schemas(member)
    elif isinstance(value, list):
        for item in value:
            yield from schemas(item)


document = json.load(sys.stdin)
OPENAPI_31_VALIDATOR.validate(document)
count = 0
for schema in schemas(document):
    jsonschema_rs.meta.validate(schema)
    count += 1
print(count)
