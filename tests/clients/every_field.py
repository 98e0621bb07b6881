"""Every operation and every field of an installed release of the official Python client, beside ours: `every_field.py OPENAPI`.

Each method is called once, with a value for every option and every field of its body, against a listener that keeps the request;
operation, parameters and fields are looked up in our description of the API, and so are the fields of the answer. What is not
there is printed, a line each: `endpoint.list ?nonsense`, `endpoint.create {nonsense}`, `endpoint.get -> nonsense`, or
`message.precheck` alone where we have no such operation.
"""

import dataclasses
import enum
import inspect
import json
import re
import sys
import threading
import typing
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pydantic
from svix.api import Svix, SvixOptions

from installed import methods

description = json.load(open(sys.argv[1]))
requests = []


class Listener(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        requests.append((self.command, self.path, json.loads(body or b"{}")))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b'{"code": "not_found", "detail": "it only listens"}')

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Svix("token", SvixOptions(server_url=f"http://127.0.0.1:{server.server_port}", retry_schedule=[]))


def is_model(kind):
    return inspect.isclass(kind) and issubclass(kind, pydantic.BaseModel)


def made(kind):
    """A value of this type with everything in it."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Union:
        return made(next(argument for argument in arguments if argument is not type(None)))
    if origin in (list, set):
        return [made(arguments[0])]
    if origin is dict or kind is dict:
        return {"a": made(arguments[1])} if arguments else {"a": 1}
    if origin is typing.Literal:
        return arguments[0]
    if is_model(kind):
        # Of a choice among models one is as good as another.
        return kind.model_construct(**{name: made(field.annotation) for name, field in kind.model_fields.items()})
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: made(hints[field.name]) for field in dataclasses.fields(kind)})
    return {str: "a", int: 1, bool: True, float: 1.0, datetime: datetime.now(timezone.utc)}.get(kind, "a")


def resolved(schema):
    """A schema without a reference or a choice with nothing in it."""
    while True:
        if "$ref" in schema:
            schema = description["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        elif "oneOf" in schema:
            schema = next(part for part in schema["oneOf"] if part.get("type") != "null")
        else:
            return schema


def content(part):
    return resolved(part.get("content", {}).get("application/json", {}).get("schema", {}))


def missing(given, schema, path=""):
    """The fields of a body that a schema does not have; an object whose names are data has any."""
    schema = resolved(schema)
    if isinstance(given, list):
        return [name for item in given for name in missing(item, schema.get("items", {}), f"{path}[]")]
    if not isinstance(given, dict) or "properties" not in schema:
        return []
    found = []
    for name, value in given.items():
        if name in schema["properties"]:
            found += missing(value, schema["properties"][name], f"{path}{name}.")
        else:
            found.append(path + name)
    return found


def shape(kind):
    """The fields of an answer, as an object."""
    return json.loads(made(kind).model_dump_json(by_alias=True, warnings=False)) if is_model(kind) else {}


def operation_of(verb, path):
    for template, operations in description["paths"].items():
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and verb.lower() in operations:
            return operations[verb.lower()]
    return None


def look_up(name, method):
    hints = typing.get_type_hints(method)
    answer = hints.pop("return", None)
    arguments = {}
    for parameter in inspect.signature(method).parameters.values():
        kind = hints.get(parameter.name, str)
        arguments[parameter.name] = made(type(parameter.default) if dataclasses.is_dataclass(parameter.default) else kind)
    requests.clear()
    try:
        method(**arguments)
    except Exception as error:
        if not requests:
            raise SystemExit(f"{name} cannot be called: {error!r}")
    verb, target, body = requests[0]
    operation = operation_of(verb, urlsplit(target).path)
    if operation is None:
        return [name]
    known = {parameter["name"] for parameter in operation.get("parameters", [])}
    found = [f"{name} ?{option}" for option in parse_qs(urlsplit(target).query) if option not in known]
    found += [f"{name} {{{field}}}" for field in missing(body, content(operation.get("requestBody", {})))]
    answers = [content(part) for status, part in operation["responses"].items() if status.startswith("2")]
    shown = next((schema for schema in answers if schema), {})
    return found + [f"{name} -> {field}" for field in missing(shape(answer), shown)]


seen = 0
for name, method in sorted(methods(client)):
    seen += 1
    for line in look_up(name, method):
        print(line)
print(f"{seen} methods", file=sys.stderr)
