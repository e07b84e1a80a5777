"""An OpenAPI 3.1 description that requests and replies are held against, and that tells what of it was never
seen. Strict where OpenAPI is not: what is not described is wrong. python3-yaml and python3-jsonschema."""

import json
import re
import urllib.parse

import jsonschema
import yaml

METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "urn:cardwire:problem:"


class Described:
    def __init__(self, text):
        self.doc = yaml.safe_load(text)
        self.seen = set()
        self.resolver = jsonschema.RefResolver("", self.doc)

    def follow(self, node):
        while isinstance(node, dict) and "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    # --- what there is ---

    def operations(self):
        """(method, path, operation with the parameters of its path)"""
        for path, item in self.doc["paths"].items():
            for method in METHODS:
                if method in item:
                    operation = dict(item[method])
                    operation["parameters"] = [self.follow(p) for p in item.get("parameters", [])
                                               + item[method].get("parameters", [])]
                    yield method.upper(), path, operation

    def find(self, method, target):
        path = target.partition("?")[0]
        for m, template, operation in self.operations():
            if m == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return template, operation
        raise AssertionError(f"{method} {path} is not described")

    def fields(self, schema, at):
        """Every property below a schema: its place in the description."""
        schema = self.follow(schema)
        for name, inner in schema.get("properties", {}).items():
            yield f"{at}.{name}"
            yield from self.fields(inner, f"{at}.{name}")
        if "items" in schema:
            yield from self.fields(schema["items"], f"{at}[]")

    def present(self, schema, value, at):
        """Those of them that a value has."""
        schema = self.follow(schema)
        if isinstance(value, dict):
            for name, inner in schema.get("properties", {}).items():
                if name in value:
                    yield f"{at}.{name}"
                    yield from self.present(inner, value[name], f"{at}.{name}")
        elif isinstance(value, list):
            for item in value:
                yield from self.present(schema.get("items", {}), item, f"{at}[]")

    def all_of_it(self):
        """What must be seen, as texts: statuses, problems, parameters, fields."""
        for method, path, operation in self.operations():
            name = f"{method} {path}"
            for parameter in operation["parameters"]:
                yield f"{name} parameter {parameter['name']}"
            if "requestBody" in operation:
                yield from self.fields(operation["requestBody"]["content"]["application/json"]["schema"],
                                       f"{name} body ")
            for status, response in operation["responses"].items():
                response = self.follow(response)
                yield f"{name} {status}"
                for problem in response.get("x-problems", []):
                    yield f"{name} {status} {problem}"
                for media, content in response["content"].items():
                    if media == "application/json":
                        yield from self.fields(content["schema"], f"{name} {status} ")

    def unseen(self):
        return sorted(set(self.all_of_it()) - self.seen)

    # --- what was seen ---

    def valid(self, schema, value, what):
        wrong = [f"{what}: {'.'.join(map(str, e.path))}: {e.message}" for e in
                 jsonschema.Draft202012Validator(schema, resolver=self.resolver).iter_errors(value)]
        assert not wrong, "; ".join(wrong)

    def check_request(self, name, operation, target, template, body):
        """A request that the bank took must be one that is described."""
        query = urllib.parse.parse_qsl(target.partition("?")[2], keep_blank_values=True)
        values = dict(query)
        path = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), target.partition("?")[0])
        values.update(path.groupdict())
        known = {p["name"]: p for p in operation["parameters"]}
        for key, value in values.items():
            assert key in known, f"{name}: the parameter {key} is not described"
            schema = self.follow(known[key]["schema"])
            self.valid(schema, int(value) if schema.get("type") == "integer" else value, f"{name} {key}")
            self.seen.add(f"{name} parameter {key}")
        assert (body is None) == ("requestBody" not in operation), f"{name}: a body, or none"
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self.valid(schema, body, f"{name} body")
            self.seen |= set(self.present(schema, body, f"{name} body "))

    def check(self, method, target, body, answer):
        """answer: .status, .type, .headers, .body, as holder.py has it. Returns its JSON, None for another
        media type."""
        template, operation = self.find(method, target)
        name = f"{method} {template}"
        status = str(answer.status)
        assert status in operation["responses"], f"{name}: {status} is not described: {answer.body[:300]}"
        response = self.follow(operation["responses"][status])
        assert answer.type in response["content"], f"{name} {status}: {answer.type} is not described"
        for header, said in response.get("headers", {}).items():
            assert header.lower() in answer.headers, f"{name} {status}: no {header}"
            self.valid(said["schema"], int(answer.headers[header.lower()]), f"{name} {header}")
        if answer.status < 400:
            self.check_request(name, operation, target, template, body)
        self.seen.add(f"{name} {status}")
        if not answer.type.endswith("json"):
            assert answer.body
            return None
        said = json.loads(answer.body)
        schema = response["content"][answer.type]["schema"]
        self.valid(schema, said, f"{name} {status}")
        if answer.type == "application/problem+json":
            problem = said["type"].removeprefix(PROBLEM)
            assert said["status"] == answer.status
            assert problem in response["x-problems"], f"{name} {status}: {problem} is not described"
            self.seen.add(f"{name} {status} {problem}")
        else:
            self.seen |= set(self.present(schema, said, f"{name} {status} "))
        return said


def schemas_at(node, at=""):
    """Every schema of a description that is an object's, with its place."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield at, node
        for key, inner in node.items():
            yield from schemas_at(inner, f"{at}/{key}")
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            yield from schemas_at(inner, f"{at}/{i}")
