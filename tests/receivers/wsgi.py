"""A receiver for gunicorn: counts what it answered by `webhook-id`, and tells the counts at /counts."""

import json

counts = {}


def app(environ, start_response):
    environ["wsgi.input"].read()
    body = json.dumps(counts).encode() if environ["PATH_INFO"] == "/counts" else b""
    name = environ.get("HTTP_WEBHOOK_ID")
    if name:
        counts[name] = counts.get(name, 0) + 1
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
