"""api/openapi.yaml, docs/api.md and the code must say the same: which operations there are, and which
problems. What operations answer is held against the description by tests/system/test_api_described.py."""

import pathlib
import re

import jsonschema
import yaml

from openapi import PROBLEM, Described, schemas_at

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def described():
    return Described(read("api/openapi.yaml"))


def routes(source):
    """(method, path) of the rows of bank/api.c, '*' for what is between slashes."""
    table = source[source.index("} routes[] = {"):]
    table = table[:table.index("\n};")]
    found = re.findall(r'\{API_(\w+), "([^"]+)"', table)
    assert len(found) == table.count("{API_")
    return {(method, path) for method, path in found}


def problems(source):
    """{name: status} of the table in bank/api_json.c."""
    table = source[source.index("} problems[] = {"):]
    return {name: int(status) for name, status in re.findall(
        r'\{"([a-z-]+)", "[^"]+", (\d+)\}', table[:table.index("\n};")])}


def test_description_is_sound():
    """The parts of OpenAPI 3.1 that we use: no validator of it is in Debian 12."""
    d = described()
    doc = d.doc
    assert re.fullmatch(r"3\.1\.\d+", doc["openapi"]) and doc["info"]["title"] and doc["info"]["version"]
    assert set(doc) <= {"openapi", "info", "servers", "security", "tags", "paths", "components"}
    names = [operation["operationId"] for _, _, operation in d.operations()]
    assert len(names) == len(set(names)) > 0
    tags = {t["name"] for t in doc["tags"]}
    for method, path, operation in d.operations():
        wanted = set(re.findall(r"\{(\w+)\}", path))
        assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == wanted, path
        assert set(operation) <= {"operationId", "tags", "summary", "description", "parameters",
                                  "requestBody", "responses"}
        assert set(operation["tags"]) <= tags and operation["summary"]
        for status, response in operation["responses"].items():
            response = d.follow(response)
            assert re.fullmatch(r"[2-5]\d\d", status) and response["description"], (method, path)
            assert ("application/problem+json" in response["content"]) == (status >= "400")
    for schema in doc["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for at, schema in schemas_at(doc):
        assert schema.get("additionalProperties") is False, f"{at} lets in what it does not describe"
        assert set(schema.get("required", [])) <= set(schema["properties"]), at


def test_every_reference_leads_somewhere():
    d = described()
    used = set(re.findall(r'"(#/components/[^"]+)"', read("api/openapi.yaml")))
    for reference in used:
        assert d.resolver.resolve(reference)[1] is not None
    there = {f"#/components/{kind}/{name}" for kind, group in d.doc["components"].items()
             if kind != "securitySchemes" for name in group}
    assert there == used


def test_every_route_is_described():
    described_paths = {(method, re.sub(r"\{\w+\}", "*", path))
                       for method, path, _ in described().operations()}
    assert described_paths == routes(read("bank/api.c"))


def test_every_problem_is_described():
    code = problems(read("bank/api_json.c"))
    assert len(code) > 20
    d = described()
    enum = d.doc["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert [PROBLEM + name for name in code] == enum
    docs = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.+?) \|$", read("docs/api.md"), re.M)
    assert {name: int(status) for name, status, _ in docs} == code
    assert len(docs) == len(code)  # none twice
    # `method` is for paths without that operation, and `not-found` for no path at all as well
    used = {(name, int(status)) for _, _, operation in d.operations()
            for status, response in operation["responses"].items()
            for name in d.follow(response).get("x-problems", [])}
    assert used | {("method", 405)} == set(code.items())


def test_every_problem_that_is_answered_is_in_the_table():
    code = problems(read("bank/api_json.c"))
    said = set()
    for path in sorted((ROOT / "bank").glob("*.c")):
        source = path.read_text(encoding="utf-8")
        said |= set(re.findall(r'api_reply_problem\(\s*[\w>()*&.-]+,\s*"([a-z-]+)"', source))
        said |= set(re.findall(r'\*name = "([a-z-]+)"', source)) if path.name == "pay.c" else set()
        said |= set(re.findall(r'\[LEDGER_\w+\] = \{"([a-z-]+)"', source)) if path.name == "pay.c" else set()
    assert said == set(code)


def test_checks_notice(tmp_path):
    """What is not described is seen; so is what is described and was not seen."""
    text = read("api/openapi.yaml")
    doc = yaml.safe_load(text)
    del doc["paths"]["/v1/accounts"]
    short = Described(yaml.safe_dump(doc))
    assert (("GET", "/v1/accounts") in routes(read("bank/api.c"))
            and all(path != "/v1/accounts" for _, path, _ in short.operations()))
    d = described()
    assert "GET /v1/accounts 200" in d.unseen() and "GET /v1/accounts 503 store" in d.unseen()
    assert "GET /v1/accounts 200 .accounts[].balance" in d.unseen()
    assert "POST /v1/payments body .signature" in d.unseen()
