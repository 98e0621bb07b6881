// A receiver in Node.js: `node.mjs PORT KEEPALIVE_MS`. Counts what it answered by `webhook-id`, and tells the counts at /counts.
import { createServer } from "node:http";

const [port, keepAlive] = process.argv.slice(2).map(Number);
const counts = {};
const server = createServer((request, response) => {
  request.resume().on("end", () => {
    const name = request.headers["webhook-id"];
    const body = request.url === "/counts" ? JSON.stringify(counts) : "";
    if (name) counts[name] = (counts[name] ?? 0) + 1;
    // As a server does that does not say how long it keeps connections.
    response.removeHeader("keep-alive");
    response.end(body);
  });
});
server.keepAliveTimeout = keepAlive;
server.listen(port, "127.0.0.1");
