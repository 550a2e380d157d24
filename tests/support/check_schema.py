"""Holds TOML documents to a JSON Schema, with the reference implementation.

Reads {"schema": …, "documents": {NAME: TOML}} and writes {NAME: [[PLACE, MESSAGE], …]}. A schema that is none
ends it.
"""

import json
import sys
import tomllib

import jsonschema

question = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(question["schema"])
validator = jsonschema.Draft202012Validator(question["schema"])
mistakes = {
    name: [["/".join(map(str, error.absolute_path)), error.message] for error in validator.iter_errors(tomllib.loads(text))]
    for name, text in question["documents"].items()
}
print(json.dumps(mistakes))
