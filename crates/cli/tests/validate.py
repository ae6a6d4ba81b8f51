"""Reads lines `SCHEMA <tab> JSON` and validates each by what `ADIT schema SCHEMA` prints."""

import json
import subprocess
import sys

import jsonschema

adit = sys.argv[1]
validators = {}
for line in sys.stdin:
    name, text = line.split("\t", 1)
    if name not in validators:
        schema = json.loads(subprocess.check_output([adit, "schema", name]))
        jsonschema.Draft202012Validator.check_schema(schema)
        validators[name] = jsonschema.Draft202012Validator(schema)
    validators[name].validate(json.loads(text))
