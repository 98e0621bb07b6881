"""Every call of the installed release of the official Python client: `every_call.py SERVER_URL TOKEN`.

It looks at what the release has, calls each method with arguments made of the fields that this release knows, and judges the answer
by what the release itself expects. One line of JSON a call comes out: ok, or why not, or why it was skipped. The server has to let
receivers on 127.0.0.1 through, and to be ready to retry after a second rather than after minutes.

Whatever a check needs besides the call it is about is made with plain requests in the words of the published description, so that
one call that fails takes no other with it.
"""

import dataclasses
import inspect
import json
import os
import secrets
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import svix as package
import svix.api
from svix.api import Svix, SvixOptions
from svix.exceptions import HttpError, HTTPValidationError
from svix.webhooks import Webhook, WebhookVerificationError

from installed import methods

try:
    from svix.api.message import message_in_raw
except ImportError:
    message_in_raw = getattr(svix.api, "message_in_raw", None)

# What an open-source server does not have, by the beginning of the name.
HOSTED = "a product of the hosted service"
BEYOND = "not in the published description"
NOT_SERVED = {
    "authentication.expire_all": BEYOND,
    "authentication.get_stream_poller_token": HOSTED + ": streaming",
    "authentication.rotate_stream_poller_token": HOSTED + ": streaming",
    "authentication.stream_": HOSTED + ": streaming",
    "autoconfig_subscription.": HOSTED + ": autoconfig",
    "connector.": HOSTED + ": connectors",
    "destination.": HOSTED + ": destinations",
    "endpoint.bulk_replay": BEYOND,
    "endpoint.get_attempt_stats": BEYOND,
    "endpoint.patch_transformation": HOSTED + ": transformations",
    "endpoint.transformation": HOSTED + ": transformations",
    "environment.": HOSTED + ": export and import of environments",
    "event_type.import_openapi": BEYOND,
    "ingest.": HOSTED + ": ingest",
    "integration.": HOSTED + ": integrations",
    "management.": HOSTED + ": management of its tokens",
    "message.bulk_expunge_content": BEYOND,
    "message.expunge_all_contents": BEYOND,
    "message.poller.": HOSTED + ": polling endpoints",
    "message.precheck": BEYOND,
    "operational_webhook": HOSTED + ": operational webhooks",
    "statistics.": HOSTED + ": its statistics",
    "streaming.": HOSTED + ": streaming",
}

# How fields are called from 2.0 on, and before.
FILTERS = ("event_types", "filter_types")
RATES = ("throttle_rate", "rate_limit")

server_url, token = sys.argv[1].rstrip("/"), sys.argv[2]
client = Svix(token, SvixOptions(server_url=server_url))
suffix = f"py-{package.__version__}-{secrets.token_hex(3)}"


# --- What the release has --------------------------------------------------------------------------------------------------------


def fields(model):
    """The names of the fields of a class of any generation: pydantic, attrs, dataclass."""
    if hasattr(model, "model_fields"):
        return set(model.model_fields)
    if hasattr(model, "__attrs_attrs__"):
        return {attribute.name for attribute in model.__attrs_attrs__} - {"additional_properties"}
    if dataclasses.is_dataclass(model):
        return {field.name for field in dataclasses.fields(model)}
    return set()


def is_model(annotation):
    return inspect.isclass(annotation) and annotation.__module__.startswith("svix.") and bool(fields(annotation))


class NotHere(Exception):
    """The release does not have what a step is about."""


class Call:
    """One method by its dotted name. Ids come first; the body is a dictionary; options go by keyword."""

    def __init__(self, name, of=None):
        self.name = name
        method = of or client
        for part in name.split("."):
            method = getattr(method, part)
        self.method = method
        parameters = inspect.signature(method).parameters
        options = parameters.get("options")
        self.options_class = type(options.default) if options else None
        self.options = fields(self.options_class) if options else set()
        models = [p.annotation for p in parameters.values() if p.name != "options" and is_model(p.annotation)]
        self.body_class = models[0] if models else None
        self.body = fields(self.body_class) if models else set()

    def __call__(self, *ids, body=None, **options):
        called.add(self.name)
        arguments = list(ids)
        if self.body_class:
            arguments.append(build(self.body_class, body or {}))
        if options:
            arguments.append(self.options_class(**options))
        try:
            return self.method(*arguments)
        except TypeError as error:
            # Some old options classes are for several calls, and have options that a call does not take.
            if "unexpected keyword argument" in str(error) and not {"'limit'", "'iterator'"} & set(str(error).split()):
                raise NotHere from error
            raise


def build(model, values):
    """An object of a class of this release: what it does not know is left out."""
    values = {name: value for name, value in values.items() if name in fields(model)}
    if "application" in values:
        values["application"] = build(svix.api.ApplicationIn, values["application"])
    # The oldest releases want the version of every endpoint.
    if "version" in inspect.signature(model).parameters and "version" not in values and model.__name__.startswith("Endpoint"):
        if inspect.signature(model).parameters["version"].default is inspect.Parameter.empty:
            values["version"] = 1
    return model(**values)


def shown(out, name):
    """A field of an answer, None where it is not set."""
    value = getattr(out, name)
    return None if type(value).__name__ == "Unset" else value


def newest_of(names_of_a_field, known):
    """What a release calls a field; where it knows both names, the one that it does not call deprecated."""
    return next(name for name in names_of_a_field if name in known)


def word(value):
    """An enumeration's value as text."""
    return str(getattr(value, "value", value))


called = set()
names = sorted({name for name, _ in methods(client)})


def has(name):
    return name in names


# From 2.0 on the client asks for no content unless told, and before for all of it unless told.
content_unless_told = not has("application.upsert")


# --- How checks are told and run -------------------------------------------------------------------------------------------------

checks = []
failures = {}
broken = {}


def check(*calls):
    """Marks a function as the check of these calls; it runs once for each of them that the release has."""

    def register(function):
        checks.append((calls, function))
        return function

    return register


@contextmanager
def step(what):
    """A part of a check: what fails in it is written down, and the next part runs all the same."""
    try:
        yield
    except NotHere:
        pass
    except Exception as error:
        if lacks_its_own(error):
            broken[current] = f"broken in this release, whatever the server: {error}"
        else:
            failures[current].append(f"{what}: {' '.join(reason(error).split())[:600]}")


def lacks_its_own(error):
    """One old release does not import what its lists are made of."""
    if type(error) is not NameError:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return os.path.dirname(package.__file__) in frames[-1].filename


def reason(error):
    if isinstance(error, AssertionError):
        return str(error) or f"not so: {traceback.extract_tb(error.__traceback__)[-1].line}"
    if isinstance(error, (HttpError, HTTPValidationError)):
        return f"{type(error).__name__}: {error.status_code} {fault(error)}"
    return f"{type(error).__name__}: {error}"


def fault(error):
    """What the server said. The oldest releases keep it as it came, the others in fields."""
    if error.args and isinstance(error.args[0], dict):
        return error.args[0]
    return {name: value for name, value in vars(error).items() if name in ("code", "detail")}


def same(found, expected, what=""):
    assert found == expected, f"{what} is {found!r} and should be {expected!r}".strip()


def shows(out, **expected):
    """The fields that this release knows have these values."""
    for name, value in expected.items():
        if name in fields(type(out)):
            same(shown(out, name), value, name)


def refused(status, run):
    """The call is refused in the way the release has for it."""
    wanted = HTTPValidationError if status == 422 else HttpError
    try:
        run()
    except (HttpError, HTTPValidationError) as error:
        assert isinstance(error, wanted), f"{type(error).__name__} ({error.status_code}) instead of {wanted.__name__} ({status})"
        same(error.status_code, status, "status_code")
        said = fault(error)
        if status == 422:
            problem = said["detail"][0]
            problem = problem if isinstance(problem, dict) else vars(problem)
            assert problem["loc"] and problem["msg"] and problem["type"], problem
        else:
            assert said["code"] and said["detail"], said
        return
    raise AssertionError(f"was not refused with {status}")


def eventually(what, condition, seconds=12):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


def walk(call, *ids, **options):
    """All of a list in pages of one, each by the iterator of the page before."""
    seen = []
    for _ in range(3000):
        page = call(*ids, limit=1, **options)
        assert len(page.data) <= 1, f"{len(page.data)} on a page of one"
        seen += page.data
        if page.done:
            return seen
        assert shown(page, "iterator"), "neither done nor an iterator"
        options["iterator"] = shown(page, "iterator")
    raise AssertionError("does not end")


def ids(items):
    return [item.id for item in items]


def made_just_now(when):
    assert isinstance(when, datetime) and when.tzinfo, when
    assert abs(datetime.now(timezone.utc) - when) < timedelta(minutes=2), f"{when} is not now"


# --- Plain requests, and a receiver ----------------------------------------------------------------------------------------------


def raw(method, path, body=None):
    request = urllib.request.Request(server_url + "/api/v1" + path, method=method)
    request.add_header("authorization", f"Bearer {token}")
    request.add_header("user-agent", "every-call")
    if body is not None:
        request.add_header("content-type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path} → {error.code} {error.read().decode()[:300]}") from None
    return json.loads(text) if text else None


hits = []
answers = {}
queries = []


class Receiver(BaseHTTPRequestHandler):
    def do_GET(self):
        """Only the client asks, to show what it sends."""
        queries.append(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))
        self.send_response(404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"code": "not_found", "detail": "it only listens"}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        hits.append((self.path[1:], {name.lower(): value for name, value in self.headers.items()}, body))
        answer = f"answer of {self.path[1:]}".encode()
        self.send_response(answers.get(self.path[1:], 200))
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

applications = []
types = set()
serial = iter(range(1, 10**6))


def fresh(what):
    """A uid that nobody has used."""
    return f"{what}-{next(serial)}-{suffix}"


def kind(name):
    """An event type's name of this run."""
    types.add(f"{name}.{suffix}")
    return f"{name}.{suffix}"


def address(path, status=200):
    """Where the receiver answers with this status."""
    answers[path] = status
    return f"http://127.0.0.1:{receiver.server_port}/{path}"


def got(path, message=None):
    """What came to a path of the receiver, perhaps of one message alone."""
    return [hit for hit in list(hits) if hit[0] == path and message in (None, hit[1].get("webhook-id") or hit[1].get("svix-id"))]


def sends(call, *ids, **options):
    """Whether an option reaches the wire: some old releases take a zero for nothing."""
    listener = Svix(token, SvixOptions(server_url=f"http://127.0.0.1:{receiver.server_port}"))
    try:
        Call(call.name, listener)(*ids, **options)
    except HttpError:
        pass
    return set(options) <= set(queries[-1])


def new_application(**fields):
    uid = fresh("app")
    applications.append(uid)
    raw("POST", "/app", {"name": "Scene", "uid": uid, **fields})
    return uid


def new_endpoint(app, status=200, **fields):
    """An endpoint whose uid is the receiver's path; it makes one attempt and no more."""
    uid = fresh("ep")
    return raw("POST", f"/app/{app}/endpoint", {"url": address(uid, status), "uid": uid, "retrySchedule": [], **fields})


def publish(app, event_type, payload=None, **fields):
    return raw("POST", f"/app/{app}/msg", {"eventType": event_type, "payload": payload or {"n": 1}, **fields})


def already_routed(app):
    """A message that no later endpoint of the application gets by itself: where it goes was decided."""
    earlier = new_endpoint(app)
    message = publish(app, kind("first"))["id"]
    eventually("the delivery to an earlier endpoint", lambda: got(earlier["uid"], message))
    return message


def attempts_of(app, message, count):
    """The attempts of a message, as soon as there are that many with a result."""

    def enough():
        found = raw("GET", f"/app/{app}/attempt/msg/{message}?limit=50")["data"]
        return found if len(found) >= count and all(attempt["status"] in (0, 2) for attempt in found) else None

    return eventually(f"{count} attempts of {message}", enough)


def narrows(path, app, wanted, other):
    """An endpoint receives what it wants and nothing else."""
    unwanted = publish(app, other)["id"]
    message = publish(app, wanted)["id"]
    eventually("the delivery of what is wanted", lambda: got(path, message))
    time.sleep(0.3)
    assert not got(path, unwanted), "what the filter leaves out was delivered"


def as_read(out, model):
    """An update's fields as somebody writes it who has just read the object: each field by its own name."""
    return {name: getattr(out, name) for name in fields(model) & fields(type(out))}


# --- Health ----------------------------------------------------------------------------------------------------------------------


@check("health.get")
def health_get(get):
    with step("answers"):
        get()


# --- Applications ----------------------------------------------------------------------------------------------------------------


def application(uid=None, **fields):
    uid = uid or fresh("app")
    applications.append(uid)
    return {"name": "Acme", "uid": uid, **fields}


@check("application.create")
def application_create(create):
    with step("shows what was given"):
        body = application(metadata={"tier": "gold"})
        app = create(body=body)
        shows(app, name="Acme", uid=body["uid"], metadata={"tier": "gold"})
        made_just_now(app.created_at)
    for name in RATES:
        if name in create.body:
            with step(f"shows {name}"):
                shows(create(body=application(**{name: 7})), **{name: 7})
    with step("the same idempotency key makes one"):
        first, second, third = (create(body={"name": "Once"}, idempotency_key=f"{key}-{suffix}") for key in ("a", "a", "b"))
        applications.extend(ids([first, third]))
        same(second.id, first.id)
        assert third.id != first.id
    with step("a uid that is taken"):
        refused(409, lambda: create(body=application(new_application())))
    with step("no name"):
        refused(422, lambda: create(body={"name": ""}))


@check("application.get_or_create")
def application_get_or_create(get_or_create):
    with step("makes one that is not there"):
        shows(get_or_create(body=application()), name="Acme")
    with step("gets one that is"):
        uid = new_application()
        shows(get_or_create(body=application(uid)), name="Scene", uid=uid)


@check("application.get")
def application_get(get):
    uid = new_application(throttleRate=9, metadata={"a": "b"})
    with step("by uid and by id"):
        app = get(uid)
        shows(app, uid=uid, name="Scene", metadata={"a": "b"})
        same(get(app.id).id, app.id)
    for name in RATES:
        with step(f"shows {name}"):
            shows(get(uid), **{name: 9})
    with step("not found"):
        refused(404, lambda: get(fresh("nobody")))


@check("application.list")
def application_list(list_):
    made = [new_application() for _ in range(3)]
    with step("pages of one"):
        found = walk(list_)
        assert set(made) <= {shown(app, "uid") for app in found}, "an application is missing"
        same(len(set(ids(found))), len(found), "the number of different ones")
    with step("order"):
        from svix.api import Ordering

        down = ids(list_(order=Ordering.DESCENDING, limit=3).data)
        up = ids(list_(order=Ordering.ASCENDING, limit=250).data)
        same(down, sorted(down, reverse=True))
        same(up, sorted(up))
    with step("the iterator before"):
        first = list_(limit=1)
        if "prev_iterator" in fields(type(first)):
            second = list_(limit=1, iterator=shown(first, "iterator"))
            back = list_(limit=1, iterator=shown(second, "prev_iterator"))
            same(ids(back.data), ids(first.data))


@check("application.update", "application.upsert")
def application_put(put):
    with step("changes"):
        uid = new_application(metadata={"a": "b"})
        shows(put(uid, body={"name": "Renamed", "uid": uid}), name="Renamed", uid=uid, metadata={})
    with step("makes one that is not there"):
        body = application()
        shows(put(body["uid"], body=body), uid=body["uid"], name="Acme")
    uid = new_application(throttleRate=9, metadata={"a": "b"})
    with step("keeps what was read and written back"):
        read = client.application.get(uid)
        put(uid, body={**as_read(read, put.body_class), "name": "Renamed"})
        now = raw("GET", f"/app/{uid}")
        same([now["name"], now.get("throttleRate"), now["metadata"]], ["Renamed", 9, {"a": "b"}])
    rate = newest_of(RATES, put.body)
    with step(f"{rate} read, changed and written back"):
        read = client.application.get(uid)
        attempt(lambda: put(uid, body={**as_read(read, put.body_class), rate: 5}))
        same(raw("GET", f"/app/{uid}").get("throttleRate"), 5, "the rate")


@check("application.patch")
def application_patch(patch):
    uid = new_application(throttleRate=9, metadata={"a": "b"})
    with step("keeps what is absent"):
        shows(patch(uid, body={"name": "Patched"}), name="Patched", uid=uid, metadata={"a": "b"})
        same(raw("GET", f"/app/{uid}").get("throttleRate"), 9)
    for name in RATES:
        if name in patch.body:
            with step(f"changes {name}"):
                shows(patch(uid, body={name: 5}), **{name: 5}, metadata={"a": "b"})
                same(raw("GET", f"/app/{uid}").get("throttleRate"), 5)


@check("application.delete")
def application_delete(delete):
    with step("it is gone"):
        uid = new_application()
        delete(uid)
        refused(404, lambda: client.application.get(uid))
    with step("not found"):
        refused(404, lambda: delete(fresh("nobody")))


# --- Event types -----------------------------------------------------------------------------------------------------------------

SCHEMAS = {"1": {"type": "object", "properties": {"id": {"type": "integer"}}}}


def event_type(name=None, **fields):
    return {"name": name or kind(f"made{next(serial)}"), "description": "Something was made", **fields}


def new_event_type(**fields):
    return raw("POST", "/event-type", event_type(**fields))["name"]


@check("event_type.create")
def event_type_create(create):
    with step("shows what was given"):
        body = event_type(schemas=SCHEMAS, deprecated=True)
        made = create(body=body)
        shows(made, name=body["name"], description="Something was made", archived=False, deprecated=True)
        same(json.loads(json.dumps(plain(made.schemas))), SCHEMAS)
        made_just_now(made.created_at)
    if "feature_flag" in create.body:
        with step("shows feature_flag"):
            shows(create(body=event_type(feature_flag="beta")), feature_flag="beta")
    with step("the same idempotency key makes one"):
        body, key = event_type(), fresh("key")
        same([create(body=body, idempotency_key=key).name for _ in range(2)], [body["name"]] * 2)
    with step("a name that is taken"):
        refused(409, lambda: create(body=event_type(new_event_type())))
    with step("a name that cannot be"):
        refused(422, lambda: create(body=event_type("not a name!")))


def plain(value):
    """Old releases wrap dictionaries in classes."""
    return value.to_dict() if hasattr(value, "to_dict") else value


@check("event_type.get")
def event_type_get(get):
    with step("shows it"):
        name = new_event_type(schemas=SCHEMAS, featureFlag="beta")
        shows(get(name), name=name, description="Something was made", feature_flag="beta", archived=False)
        same(plain(get(name).schemas), SCHEMAS)
    with step("not found"):
        refused(404, lambda: get(kind("nobody")))


@check("event_type.list")
def event_type_list(list_):
    made = {new_event_type(schemas=SCHEMAS) for _ in range(3)}
    gone = new_event_type()
    raw("DELETE", f"/event-type/{gone}")
    with step("pages of one, without what is archived"):
        found = [item.name for item in walk(list_)]
        assert made <= set(found) and gone not in found, found
        same(len(set(found)), len(found), "the number of different ones")
    with step("include_archived"):
        assert gone in {item.name for item in walk(list_, include_archived=True)}
    with step("with_content"):
        whole = [plain(shown(item, "schemas")) for item in walk(list_, with_content=True) if item.name in made]
        same(whole, [SCHEMAS] * 3)


@check("event_type.update", "event_type.upsert")
def event_type_put(put):
    with step("changes"):
        name = new_event_type()
        shows(put(name, body={"description": "Changed", "schemas": SCHEMAS}), name=name, description="Changed")
        same(raw("GET", f"/event-type/{name}")["schemas"], SCHEMAS)
    if "feature_flag" in put.body:
        with step("keeps what was read and written back"):
            name = new_event_type(schemas=SCHEMAS, featureFlag="beta")
            read = client.event_type.get(name)
            put(name, body={**as_read(read, put.body_class), "description": "Changed"})
            now = raw("GET", f"/event-type/{name}")
            same([now["description"], now["schemas"], now["featureFlag"]], ["Changed", SCHEMAS, "beta"])
    with step("makes one that is not there"):
        name = kind(f"made{next(serial)}")
        shows(put(name, body={"description": "New"}), name=name, description="New")


@check("event_type.patch")
def event_type_patch(patch):
    name = new_event_type(schemas=SCHEMAS, featureFlag="beta")
    with step("keeps what is absent"):
        shows(patch(name, body={"description": "Patched"}), name=name, description="Patched")
        now = raw("GET", f"/event-type/{name}")
        same([now["schemas"], now["featureFlag"], now["archived"]], [SCHEMAS, "beta", False])
    with step("archives"):
        shows(patch(name, body={"archived": True}), archived=True)


@check("event_type.delete")
def event_type_delete(delete):
    name = new_event_type()
    with step("archives"):
        delete(name)
        same(raw("GET", f"/event-type/{name}")["archived"], True)
    if "expunge" in delete.options:
        with step("expunge removes"):
            delete(name, expunge=True)
            refused(404, lambda: client.event_type.get(name))
    with step("not found"):
        refused(404, lambda: delete(kind("nobody")))


# --- Endpoints -------------------------------------------------------------------------------------------------------------------


def endpoint(**fields):
    uid = fresh("ep")
    return {"url": address(uid), "uid": uid, **fields}


@check("endpoint.create")
def endpoint_create(create):
    app = new_application()
    first, second = kind("first"), kind("second")
    with step("shows what was given"):
        body = endpoint(description="one", channels=["eu"], metadata={"tier": "gold"})
        made = create(app, body=body)
        shows(made, url=body["url"], uid=body["uid"], description="one", channels=["eu"], metadata={"tier": "gold"}, disabled=False)
        shows(made, version=1)
        made_just_now(made.created_at)
    for name in FILTERS:
        if name in create.body:
            with step(f"{name} narrows"):
                body = endpoint(**{name: [first]})
                attempt(lambda: create(app, body=body))
                narrows(body["uid"], app, first, second)
            with step(f"shows {name}"):
                shows(create(app, body=endpoint(**{name: [first, second]})), **{name: [first, second]})
    for name in RATES:
        if name in create.body:
            with step(f"{name} is taken"):
                body = endpoint(**{name: 7})
                attempt(lambda: create(app, body=body))
                same(raw("GET", f"/app/{app}/endpoint/{body['uid']}").get("throttleRate"), 7)
            with step(f"shows {name}"):
                shows(create(app, body=endpoint(**{name: 7})), **{name: 7})
    with step("channels narrow"):
        body = endpoint(channels=["eu"])
        attempt(lambda: create(app, body=body))
        other = publish(app, first, channels=["us"])["id"]
        message = publish(app, first, channels=["eu", "us"])["id"]
        eventually("the delivery", lambda: got(body["uid"], message))
        assert not got(body["uid"], other), "another channel's message was delivered"
    with step("the secret is the one that was given"):
        body = endpoint(secret="whsec_" + "A" * 32)
        attempt(lambda: create(app, body=body))
        same(raw("GET", f"/app/{app}/endpoint/{body['uid']}/secret")["key"], "whsec_" + "A" * 32)
    if "headers" in create.body:
        with step("headers are sent"):
            body = endpoint(headers={"x-one": "1"})
            attempt(lambda: create(app, body=body))
            message = publish(app, first)["id"]
            same(eventually("the delivery", lambda: got(body["uid"], message))[0][1].get("x-one"), "1")
    with step("disabled"):
        shows(create(app, body=endpoint(disabled=True)), disabled=True)
    with step("the same idempotency key makes one"):
        body, key = {"url": address("once")}, fresh("key")
        same(create(app, body=body, idempotency_key=key).id, create(app, body=body, idempotency_key=key).id)
    with step("a uid that is taken"):
        refused(409, lambda: create(app, body={"url": address("taken"), "uid": new_endpoint(app)["uid"]}))
    with step("no address"):
        refused(422, lambda: create(app, body={"url": "no address"}))


def attempt(run):
    """Makes something; an answer that the release cannot read is the matter of another step."""
    try:
        return run()
    except (HttpError, HTTPValidationError):
        raise
    except Exception:
        return None


@check("endpoint.get")
def endpoint_get(get):
    app = new_application()
    first = kind("first")
    made = new_endpoint(app, eventTypes=[first], throttleRate=9, channels=["eu"], metadata={"a": "b"}, description="one")
    with step("by uid and by id"):
        found = get(app, made["uid"])
        same(found.id, made["id"])
        shows(found, url=made["url"], uid=made["uid"], channels=["eu"], metadata={"a": "b"}, description="one", disabled=False)
        shows(get(app, made["id"]), uid=made["uid"])
        shows(found, version=1)
    for name, value in [*((name, [first]) for name in FILTERS), *((name, 9) for name in RATES)]:
        if name in Call("endpoint.create").body:
            with step(f"shows {name}"):
                shows(get(app, made["uid"]), **{name: value})
    with step("not found"):
        refused(404, lambda: get(app, fresh("nobody")))


@check("endpoint.list")
def endpoint_list(list_):
    app = new_application()
    first = kind("first")
    made = [new_endpoint(app, eventTypes=[first], throttleRate=9) for _ in range(3)]
    with step("pages of one"):
        found = walk(list_, app)
        same(sorted(ids(found)), sorted(item["id"] for item in made))
    with step("shows filter and rate"):
        for item in list_(app).data:
            shows(item, **{name: [first] for name in FILTERS}, **{name: 9 for name in RATES})
    with step("order"):
        from svix.api import Ordering

        up, down = (ids(list_(app, order=order).data) for order in (Ordering.ASCENDING, Ordering.DESCENDING))
        same(up, sorted(up))
        same(down, up[::-1])
    with step("not found"):
        refused(404, lambda: list_(fresh("nobody")))


@check("endpoint.update", "endpoint.upsert")
def endpoint_put(put):
    app = new_application()
    first, second = kind("first"), kind("second")
    made = new_endpoint(app, description="one", metadata={"a": "b"}, eventTypes=[first], throttleRate=9)
    with step("changes and replaces"):
        attempt(lambda: put(app, made["uid"], body={"url": made["url"], "uid": made["uid"], "description": "two"}))
        now = raw("GET", f"/app/{app}/endpoint/{made['uid']}")
        same([now["id"], now["description"], now["metadata"]], [made["id"], "two", {}])
        same([now.get("eventTypes"), now.get("throttleRate")], [None, None])
    with step("the answer shows it"):
        shows(put(app, made["uid"], body={"url": made["url"], "uid": made["uid"], "description": "three"}), description="three")
    made = new_endpoint(app, eventTypes=[first], throttleRate=9, channels=["eu"], metadata={"a": "b"})
    with step("keeps what was read and written back"):
        read = client.endpoint.get(app, made["uid"])
        attempt(lambda: put(app, made["uid"], body={**as_read(read, put.body_class), "description": "two"}))
        now = raw("GET", f"/app/{app}/endpoint/{made['uid']}")
        same([now["description"], now.get("eventTypes"), now.get("throttleRate")], ["two", [first], 9])
        same([now["channels"], now["metadata"], now["uid"]], [["eu"], {"a": "b"}, made["uid"]])
    # A release that has both names reads both, and whoever changes one of them changes the one that is not deprecated.
    for both, field, value in [(FILTERS, "eventTypes", [second]), (RATES, "throttleRate", 5)]:
        name = newest_of(both, put.body)
        with step(f"{name} read, changed and written back"):
            read = client.endpoint.get(app, made["uid"])
            attempt(lambda: put(app, made["uid"], body={**as_read(read, put.body_class), name: value}))
            same(raw("GET", f"/app/{app}/endpoint/{made['uid']}").get(field), value)
    for name in FILTERS:
        if name in put.body:
            made = new_endpoint(app)
            body = {"url": made["url"], "uid": made["uid"], name: [first]}
            with step(f"{name} narrows"):
                attempt(lambda: put(app, made["uid"], body=body))
                same(raw("GET", f"/app/{app}/endpoint/{made['uid']}").get("eventTypes"), [first])
                narrows(made["uid"], app, first, second)
            with step(f"shows {name}"):
                shows(put(app, made["uid"], body=body), **{name: [first]})
    for name in RATES:
        if name in put.body:
            made = new_endpoint(app)
            body = {"url": made["url"], "uid": made["uid"], name: 7}
            with step(f"{name} is taken"):
                attempt(lambda: put(app, made["uid"], body=body))
                same(raw("GET", f"/app/{app}/endpoint/{made['uid']}").get("throttleRate"), 7)
            with step(f"shows {name}"):
                shows(put(app, made["uid"], body=body), **{name: 7})
    with step("makes one that is not there"):
        body = endpoint()
        attempt(lambda: put(app, body["uid"], body=body))
        same(raw("GET", f"/app/{app}/endpoint/{body['uid']}")["url"], body["url"])


@check("endpoint.patch")
def endpoint_patch(patch):
    app = new_application()
    first, second = kind("first"), kind("second")
    made = new_endpoint(app, eventTypes=[first], throttleRate=9, channels=["eu"], metadata={"a": "b"})
    path = f"/app/{app}/endpoint/{made['uid']}"
    with step("keeps what is absent"):
        attempt(lambda: patch(app, made["uid"], body={"description": "two"}))
        now = raw("GET", path)
        same([now["description"], now.get("eventTypes"), now.get("throttleRate")], ["two", [first], 9])
        same([now["channels"], now["metadata"], now["uid"], now["url"]], [["eu"], {"a": "b"}, made["uid"], made["url"]])
    with step("the answer shows it"):
        found = patch(app, made["uid"], body={"description": "three"})
        shows(found, description="three", channels=["eu"], metadata={"a": "b"}, **{name: [first] for name in FILTERS})
    wanted = [("eventTypes", name, [second]) for name in FILTERS] + [("throttleRate", name, 5) for name in RATES]
    for field, name, value in wanted:
        if name in patch.body:
            with step(f"{name} is taken"):
                attempt(lambda: patch(app, made["uid"], body={name: value}))
                same(raw("GET", path).get(field), value)
            with step(f"shows {name}"):
                shows(patch(app, made["uid"], body={name: value}), **{name: value})
    with step("not found"):
        refused(404, lambda: patch(app, fresh("nobody"), body={"description": "two"}))


@check("endpoint.delete")
def endpoint_delete(delete):
    app = new_application()
    with step("it is gone"):
        made = new_endpoint(app)
        delete(app, made["uid"])
        refused(404, lambda: client.endpoint.get(app, made["id"]))
    with step("not found"):
        refused(404, lambda: delete(app, fresh("nobody")))


@check("endpoint.get_secret")
def endpoint_get_secret(get_secret):
    app = new_application()
    with step("it signs"):
        made = new_endpoint(app)
        key = get_secret(app, made["uid"]).key
        assert key.startswith("whsec_"), key
        message = publish(app, kind("first"))["id"]
        _, headers, body = eventually("the delivery", lambda: got(made["uid"], message))[0]
        Webhook(key).verify(body, headers)
    with step("not found"):
        refused(404, lambda: get_secret(app, fresh("nobody")))


def signers(app, made, keys):
    """Which of the keys sign what is delivered now."""
    message = publish(app, kind("first"))["id"]
    _, headers, body = eventually("the delivery", lambda: got(made["uid"], message))[0]
    found = []
    for key in keys:
        try:
            Webhook(key).verify(body, headers)
            found.append(key)
        except WebhookVerificationError:
            pass
    return found


@check("endpoint.rotate_secret")
def endpoint_rotate_secret(rotate):
    app = new_application()
    made = new_endpoint(app)
    path = f"/app/{app}/endpoint/{made['uid']}/secret"
    old = raw("GET", path)["key"]
    with step("it answers"):
        answer = rotate(app, made["uid"], body={})
        if answer is not None:
            same(answer.key, raw("GET", path)["key"])
    with step("there is another secret, and both sign"):
        new = raw("GET", path)["key"]
        assert new != old, "the secret is still the same"
        eventually("both sign", lambda: signers(app, made, [old, new]) == [old, new])
    with step("the secret that was given"):
        given = "whsec_" + "B" * 32
        attempt(lambda: rotate(app, made["uid"], body={"key": given}))
        same(raw("GET", path)["key"], given)
    if "grace_period_seconds" in rotate.body:
        with step("grace_period_seconds"):
            old = raw("GET", path)["key"]
            rotate(app, made["uid"], body={"grace_period_seconds": 0})
            new = raw("GET", path)["key"]
            eventually("the new one alone signs", lambda: signers(app, made, [old, new]) == [new])
    with step("no secret"):
        refused(422, lambda: rotate(app, made["uid"], body={"key": "no secret"}))


@check("endpoint.get_headers")
def endpoint_get_headers(get_headers):
    app = new_application()
    made = new_endpoint(app)
    with step("none"):
        same(dict(plain(get_headers(app, made["uid"]).headers)), {})
    with step("shows them, but not what is secret"):
        raw("PUT", f"/app/{app}/endpoint/{made['uid']}/headers", {"headers": {"x-one": "1", "authorization": "Bearer secret"}})
        found = get_headers(app, made["uid"])
        same(dict(plain(found.headers)), {"x-one": "1"})
        same([name.lower() for name in found.sensitive], ["authorization"])


@check("endpoint.update_headers", "endpoint.set_headers")
def endpoint_put_headers(put):
    app = new_application()
    made = new_endpoint(app)
    with step("replaces, and they are sent"):
        put(app, made["uid"], body={"headers": {"x-one": "1", "x-two": "2"}})
        put(app, made["uid"], body={"headers": {"x-two": "3"}})
        same(raw("GET", f"/app/{app}/endpoint/{made['uid']}/headers")["headers"], {"x-two": "3"})
        message = publish(app, kind("first"))["id"]
        _, headers, _ = eventually("the delivery", lambda: got(made["uid"], message))[0]
        same([headers.get("x-one"), headers.get("x-two")], [None, "3"])


@check("endpoint.patch_headers")
def endpoint_patch_headers(patch):
    app = new_application()
    made = new_endpoint(app)
    with step("keeps what is absent"):
        raw("PUT", f"/app/{app}/endpoint/{made['uid']}/headers", {"headers": {"x-one": "1", "x-two": "2"}})
        patch(app, made["uid"], body={"headers": {"x-two": "3", "x-three": "3"}})
        same(raw("GET", f"/app/{app}/endpoint/{made['uid']}/headers")["headers"], {"x-one": "1", "x-two": "3", "x-three": "3"})


@check("endpoint.get_stats")
def endpoint_get_stats(get_stats):
    app = new_application()
    made = new_endpoint(app)
    with step("counts"):
        for status in (200, 200, 500):
            address(made["uid"], status)
            attempts_of(app, publish(app, kind("first"))["id"], 1)
        eventually("the counts", lambda: (lambda found: (found.success, found.fail) == (2, 1))(get_stats(app, made["uid"])))
        shows(get_stats(app, made["uid"]), pending=0, sending=0, canceled=0)
    if {"since", "until"} <= get_stats.options:
        with step("since and until"):
            now = datetime.now(timezone.utc)
            before = get_stats(app, made["uid"], since=now - timedelta(days=1), until=now - timedelta(hours=3))
            same((before.success, before.fail), (0, 0))
            after = get_stats(app, made["uid"], since=now - timedelta(days=1))
            same((after.success, after.fail), (2, 1))
    with step("not found"):
        refused(404, lambda: get_stats(app, fresh("nobody")))


def failed_then_well(app):
    """An endpoint that took the first message, failed two more, and is well again."""
    made = new_endpoint(app)
    since = datetime.now(timezone.utc) - timedelta(seconds=5)
    taken = publish(app, kind("first"))["id"]
    attempts_of(app, taken, 1)
    address(made["uid"], 500)
    lost = [publish(app, kind("first"))["id"] for _ in range(2)]
    for message in lost:
        attempts_of(app, message, 1)
    address(made["uid"], 200)
    return made, since, taken, lost


def is_task(out, name):
    assert out.id, out
    same(word(out.task), name)
    assert word(out.status) in ("running", "finished"), out.status


@check("endpoint.recover")
def endpoint_recover(recover):
    app = new_application()
    made, since, taken, lost = failed_then_well(app)
    with step("the answer names a task"):
        is_task(recover(app, made["uid"], body={"since": since}), "endpoint.recover")
    with step("what failed is sent again, and nothing else"):
        eventually("both again", lambda: all(len(got(made["uid"], message)) == 2 for message in lost))
        same(len(got(made["uid"], taken)), 1)
    with step("not found"):
        refused(404, lambda: recover(app, fresh("nobody"), body={"since": since}))


@check("endpoint.replay_missing")
def endpoint_replay_missing(replay_missing):
    app = new_application()
    since = datetime.now(timezone.utc) - timedelta(seconds=5)
    early = already_routed(app)
    made = new_endpoint(app)
    seen = publish(app, kind("first"))["id"]
    eventually("the delivery", lambda: got(made["uid"], seen))
    with step("the answer names a task"):
        is_task(replay_missing(app, made["uid"], body={"since": since}), "endpoint.replay")
    with step("what the endpoint never got is sent, and nothing else"):
        eventually("the early one", lambda: got(made["uid"], early))
        same(len(got(made["uid"], seen)), 1)


@check("endpoint.send_example")
def endpoint_send_example(send_example):
    app = new_application()
    made, other = new_endpoint(app), new_endpoint(app)
    with step("it is delivered to this endpoint alone"):
        name = new_event_type(schemas=SCHEMAS)
        message = send_example(app, made["uid"], body={"event_type": name})
        shows(message, event_type=name)
        eventually("the example", lambda: got(made["uid"], message.id))
        assert not got(other["uid"]), "another endpoint got it too"


# --- Messages --------------------------------------------------------------------------------------------------------------------


@check("message.create")
def message_create(create):
    app = new_application()
    made = new_endpoint(app)
    first = kind("first")
    payload = {"n": 1, "text": "ü", "nested": {"list": [1, None, 0.5]}}
    with step("shows what was given, and delivers it"):
        asked = {} if content_unless_told else {"with_content": True}
        event_id = fresh("event")
        message = create(app, body={"event_type": first, "payload": payload, "event_id": event_id, "channels": ["eu"]}, **asked)
        shows(message, event_type=first, event_id=event_id, channels=["eu"])
        same(plain(message.payload), payload)
        made_just_now(message.timestamp)
        _, _, body = eventually("the delivery", lambda: got(made["uid"], message.id))[0]
        same(json.loads(body), payload)
    if "with_content" in create.options:
        with step("with_content=False"):
            found = create(app, body={"event_type": first, "payload": payload}, with_content=False)
            same(plain(found.payload), {})
    if not content_unless_told:
        with step("no content unless told"):
            same(plain(create(app, body={"event_type": first, "payload": payload}).payload), {})
    with step("the same idempotency key makes one"):
        key = fresh("key")
        once = [create(app, body={"event_type": first, "payload": {}}, idempotency_key=key).id for _ in range(2)]
        same(once[0], once[1])
        eventually("the delivery", lambda: got(made["uid"], once[0]))
    with step("an event id that is taken"):
        event_id = fresh("event")
        publish(app, first, eventId=event_id)
        refused(409, lambda: create(app, body={"event_type": first, "payload": {}, "event_id": event_id}))
    with step("an event type that cannot be"):
        refused(422, lambda: create(app, body={"event_type": "not a name!", "payload": {}}))
    with step("makes the application that comes along"):
        body = application()
        create(body["uid"], body={"event_type": first, "payload": {}, "application": body})
        same(raw("GET", f"/app/{body['uid']}")["name"], "Acme")
    with step("not found"):
        refused(404, lambda: create(fresh("nobody"), body={"event_type": first, "payload": {}}))


@check("message_in_raw")
def raw_message(_):
    app = new_application()
    made = new_endpoint(app)
    for what, text, content_type in [
        ("JSON as it was written", '{"b" : 1.0,\n  "a": "\\u00fc"}', None),
        ("what is no JSON", "<order>\n  <id>1</id>\n</order>", "application/xml"),
    ]:
        with step(what):
            message = client.message.create(app, message_in_raw(kind("first"), text, content_type))
            _, headers, body = eventually("the delivery", lambda: got(made["uid"], message.id))[0]
            same(body, text.encode(), "the body")
            same(headers["content-type"], content_type or "application/json", "content-type")
            try:
                Webhook(raw("GET", f"/app/{app}/endpoint/{made['uid']}/secret")["key"]).verify(body, headers)
            except json.JSONDecodeError:
                # Releases before 2.0 read the body as JSON once its signature is good.
                assert content_type, "what is JSON is read"


@check("message.get")
def message_get(get):
    app = new_application()
    made = publish(app, kind("first"), {"n": 7}, eventId=fresh("event"), channels=["eu"])
    for what, name in [("by id", "id"), ("by event id", "eventId")]:
        with step(what):
            shows(get(app, made[name]), id=made["id"], event_id=made["eventId"], channels=["eu"])
    with step("content"):
        asked = {} if content_unless_told else {"with_content": True}
        same(plain(get(app, made["id"], **asked).payload), {"n": 7})
    if "with_content" in get.options:
        with step("with_content=False"):
            same(plain(get(app, made["id"], with_content=False).payload), {})
    if not content_unless_told:
        with step("no content unless told"):
            same(plain(get(app, made["id"]).payload), {})
    with step("not found"):
        refused(404, lambda: get(app, "msg_nobody"))


def two_times():
    """An application with two messages, one before and one after a moment."""
    app = new_application()
    first, second = kind("first"), kind("second")
    early = publish(app, first, channels=["eu"], eventId=fresh("event"))
    time.sleep(1.1)
    moment = datetime.now(timezone.utc)
    time.sleep(0.1)
    late = publish(app, second, channels=["us"])
    return app, first, second, early, moment, late


@check("message.list")
def message_list(list_):
    app, first, second, early, moment, late = two_times()
    third = publish(app, kind("third"))
    everything = sorted([early["id"], late["id"], third["id"]])
    with step("pages of one"):
        same(sorted(ids(walk(list_, app))), everything)
    with step("event_types"):
        same(ids(list_(app, event_types=[first]).data), [early["id"]])
        same(sorted(ids(list_(app, event_types=[first, second]).data)), sorted([early["id"], late["id"]]))
        same(sorted(ids(walk(list_, app, event_types=[first, second]))), sorted([early["id"], late["id"]]))
    with step("channel"):
        same(ids(list_(app, channel="us").data), [late["id"]])
    with step("before"):
        same(ids(list_(app, before=moment).data), [early["id"]])
    with step("after"):
        same(sorted(ids(list_(app, after=moment).data)), sorted([late["id"], third["id"]]))
    with step("content"):
        same(plain(list_(app, limit=1).data[0].payload), {"n": 1} if content_unless_told else {})
    if "with_content" in list_.options:
        with step("with_content"):
            same([plain(list_(app, with_content=asked).data[0].payload) for asked in (True, False)], [{"n": 1}, {}])
    with step("not found"):
        refused(404, lambda: list_(fresh("nobody")))


@check("message.expunge_content")
def message_expunge_content(expunge):
    app = new_application()
    for what, field in [("by id", "id"), ("by event id", "eventId")]:
        with step(what):
            made = publish(app, kind("first"), eventId=fresh("event"))
            expunge(app, made[field])
            same(raw("GET", f"/app/{app}/msg/{made['id']}?with_content=true")["payload"], {"expired": True})
    with step("not found"):
        refused(404, lambda: expunge(app, "msg_nobody"))


# --- Attempts --------------------------------------------------------------------------------------------------------------------


class Scene:
    """Two endpoints, one well and one not, that have both tried an early and a late message."""

    def __init__(self):
        self.app, self.first, self.second = new_application(), kind("first"), kind("second")
        self.well, self.ill = new_endpoint(self.app), new_endpoint(self.app, 500)
        self.early = publish(self.app, self.first, channels=["eu"], eventId=fresh("event"))
        self.attempts = attempts_of(self.app, self.early["id"], 2)
        time.sleep(1.1)
        self.moment = datetime.now(timezone.utc)
        time.sleep(0.1)
        self.late = publish(self.app, self.second, channels=["us"])
        attempts_of(self.app, self.late["id"], 2)


the_scene = []


def scene():
    if not the_scene:
        the_scene.append(Scene())
    return the_scene[0]


def attempt_is_whole(item, message, where, status):
    shows(item, msg_id=message["id"], endpoint_id=where["id"], url=where["url"], response_status_code=status)
    same(int(item.status), 0 if status == 200 else 2, "status")
    same(int(item.trigger_type), 0, "trigger_type")
    made_just_now(item.timestamp)
    if "response_duration_ms" in fields(type(item)):
        assert 0 <= item.response_duration_ms < 60_000, item.response_duration_ms
    if "status_text" in fields(type(item)):
        same(word(item.status_text), "success" if status == 200 else "fail")


@check("message_attempt.list_by_msg", "message_attempt.list")
def message_attempt_list_by_msg(list_):
    from svix.api import MessageStatus, StatusCodeClass

    stage = scene()
    app, message = stage.app, stage.early["id"]
    where = {stage.well["id"]: "well", stage.ill["id"]: "ill"}

    def of(**options):
        return sorted(where[item.endpoint_id] for item in list_(app, message, **options).data)

    def answer(**options):
        return next(item.response for item in list_(app, message, **options).data if item.endpoint_id == stage.well["id"])

    with step("each attempt whole"):
        for item in list_(app, message).data:
            well = item.endpoint_id == stage.well["id"]
            attempt_is_whole(item, stage.early, stage.well if well else stage.ill, 200 if well else 500)
    with step("pages of one"):
        same(sorted(where[item.endpoint_id] for item in walk(list_, app, message)), ["ill", "well"])
    with step("by event id"):
        same(len(list_(app, stage.early["eventId"]).data), 2)
    with step("status"):
        for status, wanted in [(0, ["well"]), (2, ["ill"])]:
            if sends(list_, app, message, status=MessageStatus(status)):
                same(of(status=MessageStatus(status)), wanted)
    with step("status_code_class"):
        same([of(status_code_class=StatusCodeClass(200)), of(status_code_class=StatusCodeClass(500))], [["well"], ["ill"]])
    with step("channel"):
        same([len(of(channel="eu")), len(of(channel="us"))], [2, 0])
    with step("event_types"):
        same([len(of(event_types=[stage.first, stage.second])), len(of(event_types=[stage.second, kind("third")]))], [2, 0])
    with step("before and after"):
        same([len(of(before=stage.moment)), len(of(after=stage.moment))], [2, 0])
    if "endpoint_id" in list_.options:
        with step("endpoint_id"):
            same(of(endpoint_id=stage.ill["uid"]), ["ill"])
    with step("content"):
        same(answer() == f"answer of {stage.well['uid']}", content_unless_told, "whether the response is shown")
    if "with_content" in list_.options:
        with step("with_content"):
            same(answer(with_content=True), f"answer of {stage.well['uid']}")
            assert "answer" not in answer(with_content=False), answer(with_content=False)
    with step("not found"):
        refused(404, lambda: list_(app, "msg_nobody"))


@check("message_attempt.list_by_endpoint")
def message_attempt_list_by_endpoint(list_):
    from svix.api import MessageStatus, StatusCodeClass

    stage = scene()
    app = stage.app
    which = {stage.early["id"]: "early", stage.late["id"]: "late"}

    def of(where=stage.well, **options):
        return sorted(which[item.msg_id] for item in list_(app, where["uid"], **options).data)

    with step("each attempt whole"):
        for item in list_(app, stage.ill["uid"]).data:
            attempt_is_whole(item, stage.early if item.msg_id == stage.early["id"] else stage.late, stage.ill, 500)
    with step("pages of one"):
        same(sorted(which[item.msg_id] for item in walk(list_, app, stage.well["id"])), ["early", "late"])
    with step("status"):
        for status, wanted in [(0, []), (2, ["early", "late"])]:
            if sends(list_, app, stage.ill["uid"], status=MessageStatus(status)):
                same(of(stage.ill, status=MessageStatus(status)), wanted)
    with step("status_code_class"):
        same([len(of(status_code_class=StatusCodeClass(200))), len(of(status_code_class=StatusCodeClass(500)))], [2, 0])
    with step("channel"):
        same(of(channel="us"), ["late"])
    with step("event_types"):
        same([of(event_types=[stage.first]), of(event_types=[stage.first, stage.second])], [["early"], ["early", "late"]])
    with step("before and after"):
        same([of(before=stage.moment), of(after=stage.moment)], [["early"], ["late"]])
    with step("not found"):
        refused(404, lambda: list_(app, fresh("nobody")))


@check("message_attempt.list_attempts_for_endpoint")
def message_attempt_list_attempts_for_endpoint(list_):
    from svix.api import MessageStatus

    stage = scene()
    app = stage.app
    with step("each attempt whole"):
        for where, status in [(stage.well, 200), (stage.ill, 500)]:
            (item,) = list_(app, stage.early["id"], where["uid"]).data
            attempt_is_whole(item, stage.early, where, status)
    with step("by event id, in pages of one"):
        same(len(walk(list_, app, stage.early["eventId"], stage.well["id"])), 1)
    with step("status"):
        for status, wanted in [(0, 0), (2, 1)]:
            if sends(list_, app, stage.early["id"], stage.ill["uid"], status=MessageStatus(status)):
                same(len(list_(app, stage.early["id"], stage.ill["uid"], status=MessageStatus(status)).data), wanted)


@check("message_attempt.get")
def message_attempt_get(get):
    stage = scene()
    made = next(item for item in stage.attempts if item["endpointId"] == stage.well["id"])
    for what, name in [("by id", "id"), ("by event id", "eventId")]:
        with step(what):
            item = get(stage.app, stage.early[name], made["id"])
            same(item.id, made["id"])
            attempt_is_whole(item, stage.early, stage.well, 200)
            same(item.response, f"answer of {stage.well['uid']}")
    with step("not found"):
        refused(404, lambda: get(stage.app, stage.early["id"], "atmpt_nobody"))


@check("message_attempt.list_attempted_messages")
def message_attempt_list_attempted_messages(list_):
    from svix.api import MessageStatus

    stage = scene()
    app = stage.app
    which = {stage.early["id"]: "early", stage.late["id"]: "late"}

    def of(where=stage.well, **options):
        return sorted(which[item.id] for item in list_(app, where["uid"], **options).data)

    with step("each message whole"):
        early = next(item for item in list_(app, stage.ill["uid"]).data if item.id == stage.early["id"])
        shows(early, event_type=stage.first, channels=["eu"], event_id=stage.early["eventId"], next_attempt=None)
        same(int(early.status), 2, "status")
        same(plain(early.payload), {"n": 1} if content_unless_told else {})
        if "status_text" in fields(type(early)):
            same(word(early.status_text), "fail")
    with step("pages of one"):
        same(sorted(which[item.id] for item in walk(list_, app, stage.well["id"])), ["early", "late"])
    with step("status"):
        for where, status, wanted in [(stage.well, 0, 2), (stage.well, 2, 0), (stage.ill, 0, 0), (stage.ill, 2, 2)]:
            if sends(list_, app, where["uid"], status=MessageStatus(status)):
                same(len(of(where, status=MessageStatus(status))), wanted)
    with step("channel"):
        same(of(channel="us"), ["late"])
    with step("before and after"):
        same([of(before=stage.moment), of(after=stage.moment)], [["early"], ["late"]])
    with step("event_types"):
        same([of(event_types=[stage.first]), of(event_types=[stage.first, stage.second])], [["early"], ["early", "late"]])
    if "with_content" in list_.options:
        with step("with_content"):
            for asked, payload in [(True, {"n": 1}), (False, {})]:
                same(plain(list_(app, stage.well["uid"], with_content=asked).data[0].payload), payload)
    with step("not found"):
        refused(404, lambda: list_(app, fresh("nobody")))


@check("message_attempt.list_attempted_destinations")
def message_attempt_list_attempted_destinations(list_):
    stage = scene()
    for what, name in [("by id", "id"), ("by event id", "eventId")]:
        with step(what):
            found = {item.id: item for item in list_(stage.app, stage.early[name]).data}
            same(sorted(found), sorted([stage.well["id"], stage.ill["id"]]))
            same([int(found[stage.well["id"]].status), int(found[stage.ill["id"]].status)], [0, 2])
            shows(found[stage.well["id"]], url=stage.well["url"], uid=stage.well["uid"], description="", next_attempt=None)
    with step("pages of one"):
        same(sorted(ids(walk(list_, stage.app, stage.early["id"]))), sorted([stage.well["id"], stage.ill["id"]]))
    with step("not found"):
        refused(404, lambda: list_(stage.app, "msg_nobody"))


@check("message_attempt.resend")
def message_attempt_resend(resend):
    app = new_application()
    made = new_endpoint(app)
    message = publish(app, kind("first"), eventId=fresh("event"))
    attempts_of(app, message["id"], 1)
    with step("by id"):
        resend(app, message["id"], made["uid"])
        eventually("the delivery", lambda: len(got(made["uid"], message["id"])) == 2)
        same(sorted(item["triggerType"] for item in attempts_of(app, message["id"], 2)), [0, 1], "triggerType")
    with step("by event id"):
        resend(app, message["eventId"], made["uid"])
        eventually("the delivery", lambda: len(got(made["uid"], message["id"])) == 3)
    with step("not found"):
        refused(404, lambda: resend(app, "msg_nobody", made["uid"]))


@check("message_attempt.expunge_content")
def message_attempt_expunge_content(expunge):
    app = new_application()
    new_endpoint(app)
    for what, name in [("by id", "id"), ("by event id", "eventId")]:
        message = publish(app, kind("first"), eventId=fresh("event"))
        made = attempts_of(app, message["id"], 1)[0]
        with step(what):
            expunge(app, message[name], made["id"])
            now = raw("GET", f"/app/{app}/msg/{message['id']}/attempt/{made['id']}")
            assert "answer" not in now["response"], now["response"]
            same(now["responseStatusCode"], 200, "the status code")
    with step("not found"):
        refused(404, lambda: expunge(app, message["id"], "atmpt_nobody"))


# --- Background tasks ------------------------------------------------------------------------------------------------------------


def recovery():
    """A task that brings back two messages."""
    app = new_application()
    made, since, _, _ = failed_then_well(app)
    return raw("POST", f"/app/{app}/endpoint/{made['uid']}/recover", {"since": since.isoformat()})["id"]


@check("background_task.get")
def background_task_get(get):
    with step("it ends, and says how many"):
        task = recovery()
        eventually("the end", lambda: word(get(task).status) == "finished")
        found = get(task)
        same([found.id, word(found.task)], [task, "endpoint.recover"])
        same(plain(found.data), {"messagesSent": 2})
        shows_time(found)
    with step("a replay"):
        app = new_application()
        since = datetime.now(timezone.utc) - timedelta(seconds=5)
        already_routed(app)
        made = new_endpoint(app)
        task = raw("POST", f"/app/{app}/endpoint/{made['uid']}/replay-missing", {"since": since.isoformat()})["id"]
        eventually("the end", lambda: word(get(task).status) == "finished")
        same([word(get(task).task), plain(get(task).data)], ["endpoint.replay", {"messagesSent": 1}])
    with step("not found"):
        refused(404, lambda: get("qtask_nobody"))


def shows_time(task):
    if "updated_at" in fields(type(task)):
        made_just_now(task.updated_at)


@check("background_task.list")
def background_task_list(list_):
    tasks = {recovery(), recovery()}
    with step("pages of one"):
        assert tasks <= set(ids(walk(list_))), "a task is missing"
    with step("status"):
        from svix.api import BackgroundTaskStatus

        eventually("both ended", lambda: tasks <= set(ids(list_(status=BackgroundTaskStatus("finished"), limit=250).data)))
        assert not tasks & set(ids(list_(status=BackgroundTaskStatus("failed"), limit=250).data))
    with step("task"):
        from svix.api import BackgroundTaskType

        assert tasks <= set(ids(list_(task=BackgroundTaskType("endpoint.recover"), limit=250).data))
        assert not tasks & set(ids(list_(task=BackgroundTaskType("endpoint.replay"), limit=250).data))


# --- Authentication --------------------------------------------------------------------------------------------------------------


def sees_its_application_alone(access, app):
    assert access.url.startswith("http") and access.token, access
    own = Svix(access.token, SvixOptions(server_url=server_url))
    same(len(Call("endpoint.list", own)(app).data), 0)
    refused(403, lambda: own.application.list())
    refused(403, lambda: own.endpoint.list(new_application()))


@check("authentication.app_portal_access")
def authentication_app_portal_access(access):
    app = new_application()
    with step("its token sees its application alone"):
        sees_its_application_alone(access(app, body={}), app)
    if "application" in access.body:
        with step("makes the application that comes along"):
            body = application()
            access(body["uid"], body={"application": body})
            same(raw("GET", f"/app/{body['uid']}")["name"], "Acme")
    with step("not found"):
        refused(404, lambda: access(fresh("nobody"), body={}))


@check("authentication.dashboard_access")
def authentication_dashboard_access(access):
    app = new_application()
    with step("its token sees its application alone"):
        sees_its_application_alone(access(app), app)
    with step("not found"):
        refused(404, lambda: access(fresh("nobody")))


@check("authentication.logout")
def authentication_logout(_):
    app = new_application()
    with step("the token is good no longer"):
        own = Svix(raw("POST", f"/auth/app-portal-access/{app}", {})["token"], SvixOptions(server_url=server_url))
        own.endpoint.list(app)
        Call("authentication.logout", own)()

        def logged_out():
            try:
                own.endpoint.list(app)
            except HttpError as error:
                return error.status_code == 401
            return False

        eventually("401", logged_out)


# --- Signatures ------------------------------------------------------------------------------------------------------------------


@check("Webhook.verify", "Webhook.sign")
def webhook(_):
    app = new_application()
    made = new_endpoint(app)
    key = raw("GET", f"/app/{app}/endpoint/{made['uid']}/secret")["key"]
    message = publish(app, kind("first"), {"text": "ü"})["id"]
    _, headers, body = eventually("the delivery", lambda: got(made["uid"], message))[0]
    with step("verifies what was received"):
        Webhook(key).verify(body, headers)
        Webhook(key).verify(body.decode(), headers)
    with step("neither with another secret nor another body"):
        for secret, data in [("whsec_" + "A" * 32, body), (key, body + b" ")]:
            try:
                Webhook(secret).verify(data, headers)
            except WebhookVerificationError:
                continue
            raise AssertionError("it verifies")
    with step("signs as the server does"):
        when = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=timezone.utc)
        assert Webhook(key).sign(message, when, body.decode()) in headers["webhook-signature"].split(" ")


# --- All of it -------------------------------------------------------------------------------------------------------------------

current = ""


def run_checks():
    global current
    for calls, function in checks:
        for name in calls:
            beside = name.startswith("Webhook.") or (name == "message_in_raw" and message_in_raw)
            if not beside and not has(name):
                continue
            current = name
            failures[name] = []
            with step("before it began"):
                function(None if beside else Call(name))


def tidy_up():
    """Leaves the lists of the server as short as they were."""
    for path in [f"/app/{uid}" for uid in applications] + [f"/event-type/{name}?expunge=true" for name in sorted(types)]:
        try:
            raw("DELETE", path)
        except AssertionError:
            pass


def not_served(name):
    return next((why for beginning, why in NOT_SERVED.items() if name.startswith(beginning)), None)


def main():
    try:
        run_checks()
    finally:
        tidy_up()
    beside = [name for name in failures if not has(name)]
    for name in names + beside:
        if failures.get(name):
            line = {"call": name, "ok": False, "why": " | ".join(failures[name])}
        elif name in broken:
            line = {"call": name, "skipped": broken[name]}
        elif name in beside or name in called:
            line = {"call": name, "ok": True}
        elif not_served(name):
            line = {"call": name, "skipped": not_served(name)}
        else:
            line = {"call": name, "ok": False, "why": "nothing calls it"}
            failures[name] = [line["why"]]
        print(json.dumps(line, ensure_ascii=False))
    return 1 if any(failures.values()) else 0


sys.exit(main())
