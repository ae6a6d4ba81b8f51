"""Compares a running program with its OpenAPI document: ADIT KIND SOCKET [PATH for a path with names]...

The document is that of `adit schema openapi-KIND`, its schemas are schemas, and each reply to GET is as it says.
"""

import http.client
import json
import re
import socket
import subprocess
import sys

import jsonschema

adit, kind, at, *examples = sys.argv[1:]


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(at)


def ask(method, path, fields={}, body=None):
    connection = Connection("adit")
    connection.request(method, path, body=body, headers=fields)
    reply = connection.getresponse()
    return reply.status, reply.headers, reply.read().decode()


_, _, text = ask("GET", "/openapi.json")
document = json.loads(text)
assert document == json.loads(subprocess.check_output([adit, "schema", "openapi-" + kind]))
assert document["openapi"] == "3.1.0"
validator = jsonschema.Draft202012Validator
resolver = jsonschema.RefResolver.from_schema(document)
for schema in document["components"]["schemas"].values():
    validator.check_schema(schema)


def is_valid(value, schema):
    validator.check_schema(schema)
    validator(schema, resolver=resolver).validate(value)


def content(answer):
    if "$ref" in answer:
        with resolver.resolving(answer["$ref"]) as target:
            return target["content"]
    return answer["content"]


checked = 0
for path, operations in document["paths"].items():
    names = re.findall(r"\{(.*?)\}", path)
    for method, operation in operations.items():
        assert [one["name"] for one in operation["parameters"] if one["in"] == "path"] == names
        for one in operation["parameters"]:
            re.compile(one["schema"].get("pattern", ""))
        validator.check_schema(operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {}))
    # Another method is refused with the list of methods.
    target = re.sub(r"\{.*?\}", "x", path)
    status, fields, text = ask("PUT", target)
    allowed = {method.upper() for method in operations}
    assert status == 405 and set(fields["Allow"].split(", ")) - {"HEAD"} == allowed, (path, fields["Allow"])
    answer = content(document["components"]["responses"]["NotAllowed"])
    is_valid(json.loads(text), answer["application/json"]["schema"])
    if "get" not in operations:
        continue
    pattern = re.compile("^" + re.sub(r"\{.*?\}", "[^/]+", path) + "$")
    targets = [path] if not names else [one for one in examples if pattern.match(one)]
    for target in targets:
        if target == "/events":
            target = "/events?after=0&follow=false"
        status, fields, text = ask("GET", target)
        responses = operations["get"]["responses"]
        answer = content(responses.get(str(status), responses["default"]))
        schema = answer[fields["Content-Type"]]["schema"]
        lines = text.splitlines() if "ndjson" in fields["Content-Type"] else [text]
        is_text = fields["Content-Type"].startswith("text/plain")
        for line in lines:
            is_valid(line if is_text else json.loads(line), schema)
        assert status == 200 or target in ("/nat/flows", "/health"), (target, text)
        checked += 1
    # What is not in the document is refused.
    status, _, text = ask("GET", target.split("?")[0] + "?nosuch=1")
    assert status == 400 and "nosuch" in json.loads(text)["message"], text
print(checked)
