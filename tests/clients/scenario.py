"""Every resource through the official Python client: `scenario.py SERVER_URL TOKEN`. Ends with `ok`, or with what was wrong."""

import json
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from svix.api import (
    AppPortalAccessIn,
    ApplicationIn,
    ApplicationPatch,
    EndpointHeadersIn,
    EndpointHeadersPatchIn,
    EndpointIn,
    EndpointPatch,
    EndpointSecretRotateIn,
    EndpointUpsertIn,
    EventExampleIn,
    EventTypeIn,
    EventTypePatch,
    EventTypeUpsertIn,
    MessageAttemptListByEndpointOptions,
    MessageCreateOptions,
    MessageGetOptions,
    MessageIn,
    MessageListOptions,
    RecoverIn,
    Svix,
    SvixOptions,
)
from svix.exceptions import HttpError
from svix.webhooks import Webhook, WebhookVerificationError

hits = []
failing = threading.Event()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        hits.append((self.path, dict(self.headers), body))
        self.send_response(500 if self.path == "/flaky" and failing.is_set() else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def eventually(what, condition):
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in time: {what}")


def refused(status, call):
    try:
        call()
    except HttpError as error:
        assert error.status_code == status, (error.status_code, error.code, error.detail)
        assert error.code and error.detail
        return
    raise AssertionError(f"expected {status}")


def main():
    server_url, token = sys.argv[1:3]
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}"
    svix = Svix(token, SvixOptions(server_url=server_url))
    svix.health.get()

    # Applications.
    app = svix.application.create(ApplicationIn(name="Python", uid="python", metadata={"tier": "gold"}))
    assert svix.application.get("python").id == app.id
    assert svix.application.get_or_create(ApplicationIn(name="Python", uid="python")).id == app.id
    refused(409, lambda: svix.application.create(ApplicationIn(name="Again", uid="python")))
    assert svix.application.upsert("python", ApplicationIn(name="Renamed", uid="python")).name == "Renamed"
    assert svix.application.patch("python", ApplicationPatch(name="Patched")).name == "Patched"
    assert any(found.id == app.id for found in svix.application.list().data)

    # Event types.
    schemas = {"1": {"type": "object", "properties": {"id": {"type": "integer"}}}}
    svix.event_type.create(EventTypeIn(name="py.created", description="Something was made", schemas=schemas))
    refused(409, lambda: svix.event_type.create(EventTypeIn(name="py.created", description="again")))
    assert svix.event_type.get("py.created").schemas == schemas
    assert svix.event_type.upsert("py.created", EventTypeUpsertIn(description="Changed")).description == "Changed"
    assert svix.event_type.patch("py.created", EventTypePatch(deprecated=True)).deprecated
    assert any(found.name == "py.created" for found in svix.event_type.list().data)

    # Endpoints.
    endpoint = svix.endpoint.create("python", EndpointIn(url=f"{url}/ok", uid="ok", description="one"))
    flaky = svix.endpoint.create("python", EndpointIn(url=f"{url}/flaky", uid="flaky", channels=["eu"]))
    updated = svix.endpoint.upsert("python", "ok", EndpointUpsertIn(url=f"{url}/ok", uid="ok", description="two"))
    assert updated.id == endpoint.id and updated.description == "two"
    assert svix.endpoint.patch("python", "ok", EndpointPatch(description="three")).description == "three"
    svix.endpoint.set_headers("python", "ok", EndpointHeadersIn(headers={"x-one": "1"}))
    svix.endpoint.patch_headers("python", "ok", EndpointHeadersPatchIn(headers={"x-two": "2"}))
    assert svix.endpoint.get_headers("python", "ok").headers == {"x-one": "1", "x-two": "2"}
    assert {found.uid for found in svix.endpoint.list("python").data} == {"ok", "flaky"}
    refused(404, lambda: svix.endpoint.get("python", "nobody"))

    # Messages, and what the receiver got.
    payload = {"id": 1, "text": "ü"}
    message = svix.message.create(
        "python",
        MessageIn(event_type="py.created", event_id="one", payload=payload),
        MessageCreateOptions(with_content=True),
    )
    assert message.payload == payload
    refused(409, lambda: svix.message.create("python", MessageIn(event_type="py.created", event_id="one", payload={})))
    eventually("the first delivery", lambda: any(hit[0] == "/ok" for hit in hits))
    path, headers, body = hits[0]
    assert headers["x-one"] == "1" and headers["x-two"] == "2"
    key = svix.endpoint.get_secret("python", "ok").key
    Webhook(key).verify(body, {name.lower(): value for name, value in headers.items()})
    assert json.loads(body) == payload
    try:
        Webhook("whsec_" + "A" * 32).verify(body, {name.lower(): value for name, value in headers.items()})
        raise AssertionError("another secret verifies")
    except WebhookVerificationError:
        pass
    assert svix.message.get("python", message.id).event_id == "one"
    options = MessageListOptions(event_types=["py.created"], limit=1)
    assert [found.id for found in svix.message.list("python", options).data] == [message.id]
    # Unless asked for, this client wants no content back.
    bare = svix.message.create("python", MessageIn(event_type="py.created", payload={"id": 2}))
    assert bare.payload == {}

    # Attempts, destinations, resend.
    def attempts():
        found = svix.message_attempt.list_by_msg("python", message.id).data
        return found if len(found) == 1 else None

    attempt = eventually("the attempt is in the log", attempts)[0]
    assert attempt.status == 0 and attempt.response_status_code == 204 and attempt.endpoint_id == endpoint.id
    assert svix.message_attempt.get("python", message.id, attempt.id).id == attempt.id
    assert svix.message_attempt.list_attempted_destinations("python", message.id).data[0].id == endpoint.id
    assert message.id in [found.id for found in svix.message_attempt.list_attempted_messages("python", "ok").data]
    svix.message_attempt.resend("python", message.id, "ok")
    eventually("the resend", lambda: len(svix.message_attempt.list_by_msg("python", message.id).data) == 2)
    by_endpoint = MessageAttemptListByEndpointOptions(status=0, event_types=["py.created"], limit=2)
    page = svix.message_attempt.list_by_endpoint("python", "ok", by_endpoint)
    assert len(page.data) == 2 and not page.done
    rest = MessageAttemptListByEndpointOptions(status=0, event_types=["py.created"], limit=2, iterator=page.iterator)
    assert svix.message_attempt.list_by_endpoint("python", "ok", rest).done
    svix.message_attempt.expunge_content("python", message.id, attempt.id)

    # A receiver that fails, and is recovered.
    failing.set()
    since = datetime.now(timezone.utc) - timedelta(seconds=5)
    lost = svix.message.create("python", MessageIn(event_type="py.created", channels=["eu"], payload={"id": 3}))

    def dead():
        found = svix.message_attempt.list_attempted_messages("python", "flaky").data
        return found and found[0].status == 2

    eventually("three failures", dead)
    stats = svix.endpoint.get_stats("python", "flaky")
    assert stats.fail == 1 and stats.success == 0, stats
    failing.clear()
    task = svix.endpoint.recover("python", "flaky", RecoverIn(since=since))
    assert task.task == "endpoint.recover"
    eventually("the recovery", lambda: svix.endpoint.get_stats("python", "flaky").success == 1)
    assert [hit[1]["webhook-id"] for hit in hits if hit[0] == "/flaky"] == [lost.id] * 4

    # Rotation: both secrets sign.
    rotated = svix.endpoint.rotate_secret("python", "ok", EndpointSecretRotateIn())
    fresh = svix.endpoint.get_secret("python", "ok").key
    assert rotated.key == fresh != key

    def signed_by_both():
        example = svix.endpoint.send_example("python", "ok", EventExampleIn(event_type="py.created"))
        hit = eventually("the example", lambda: next((hit for hit in hits if hit[1].get("webhook-id") == example.id), None))
        headers = {name.lower(): value for name, value in hit[1].items()}
        Webhook(key).verify(hit[2], headers)
        try:
            Webhook(fresh).verify(hit[2], headers)
        except WebhookVerificationError:
            # A dispatcher may know the endpoint as it was some seconds ago.
            return False
        return True

    eventually("both secrets sign", signed_by_both)

    # The customer's own portal sees its application alone.
    portal = svix.authentication.app_portal_access("python", AppPortalAccessIn())
    own = Svix(portal.token, SvixOptions(server_url=server_url))
    assert len(own.endpoint.list("python").data) == 2
    refused(403, lambda: own.application.list())
    refused(403, lambda: own.endpoint.list("default"))
    own.authentication.logout()

    def logged_out():
        try:
            own.endpoint.list("python")
        except HttpError as error:
            return error.status_code == 401
        return False

    eventually("the portal's token is good no longer", logged_out)

    # The end of everything.
    svix.message.expunge_content("python", message.id)
    kept = svix.message.get("python", message.id, MessageGetOptions(with_content=True))
    assert kept.payload == {"expired": True}
    svix.endpoint.delete("python", flaky.id)
    svix.event_type.delete("py.created")
    assert svix.event_type.get("py.created").archived
    svix.application.delete("python")
    refused(404, lambda: svix.application.get("python"))
    print("ok")


main()
