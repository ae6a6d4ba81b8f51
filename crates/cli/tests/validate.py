"""Reads lines `SCHEMA-FILE <tab> JSON` and validates each."""

import json
import sys

import jsonschema

validators = {}
for line in sys.stdin:
    path, text = line.split("\t", 1)
    if path not in validators:
        schema = json.load(open(path))
        jsonschema.Draft202012Validator.check_schema(schema)
        validators[path] = jsonschema.Draft202012Validator(schema)
    validators[path].validate(json.loads(text))
