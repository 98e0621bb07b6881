"""A receiver for uvicorn: counts what it answered by `webhook-id`, and tells the counts at /counts."""

import json

counts = {}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = json.dumps(counts).encode() if scope["path"] == "/counts" else b""
    name = dict(scope["headers"]).get(b"webhook-id")
    if name:
        counts[name.decode()] = counts.get(name.decode(), 0) + 1
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
