#!/usr/bin/env node
// Publishes one event over AMQP 1.0 with rhea and waits until the broker has accepted it:
//
//   node rhea_publish.mjs amqp://guest:guest@localhost:5672 hookyard.events order.paid '{"order": 4711}' --app acme
//
// RabbitMQ 4 speaks AMQP 1.0 itself; for the plugin of 3.x say --plugin, whose addresses are others. --body is how the data is
// sent: as a data section, which arrives byte for byte, as a text, or as an AMQP map, which is refused.

import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const rhea = createRequire(import.meta.url)("rhea");

const string = { type: "string" };
const { values, positionals } = parseArgs({
  options: { id: string, app: string, body: string, plugin: { type: "boolean" } },
  allowPositionals: true,
});
const [url, exchange, type, data] = positionals;
if (!data) {
  console.error("usage: rhea_publish.mjs URL EXCHANGE TYPE DATA [--id ID] [--app APP] [--body data|text|buffer|map] [--plugin]");
  process.exit(2);
}
const { hostname, port, username, password } = new URL(url);

const bodies = {
  data: () => rhea.message.data_section(Buffer.from(data)),
  text: () => data,
  buffer: () => Buffer.from(data),
  map: () => JSON.parse(data),
};
const event = {
  // An id that is a text: others arrive as other texts, or as bytes that are none.
  message_id: values.id ?? randomUUID(),
  content_type: "application/json",
  // Without it RabbitMQ 4.3 does not keep the event through a restart.
  durable: true,
  application_properties: values.app ? { "hookyard-app": values.app } : {},
  // What AMQP 0-9-1 calls the type: without it the body must be an envelope, or the type is the routing key's.
  message_annotations: { "x-basic-type": type },
  body: bodies[values.body ?? "data"](),
};
// A text or buffer arrives without its annotations on RabbitMQ 4: let the data say what it is.
if (["text", "buffer"].includes(values.body)) {
  const envelope = `{"event_type":${JSON.stringify(type)},"data":${data}}`;
  event.body = values.body === "text" ? envelope : Buffer.from(envelope);
}

const encoded = encodeURIComponent;
const address = values.plugin ? `/exchange/${exchange}/${type}` : `/exchanges/${encoded(exchange)}/${encoded(type)}`;
const connection = rhea.connect({ host: hostname, port: port || 5672, username, password, reconnect: false });
const ended = (error) => {
  if (error) console.error(`not accepted: ${error.message ?? error.condition ?? error}`);
  connection.close();
  process.exit(error ? 1 : 0);
};
for (const name of ["connection_error", "session_error", "sender_error", "disconnected"]) {
  connection.on(name, (context) => ended(context.error ?? context.sender?.error ?? name));
}
const sender = connection.open_sender({ target: { address } });
sender.once("sendable", () => sender.send(event));
sender.on("accepted", () => ended());
sender.on("rejected", () => ended("rejected"));
sender.on("released", () => ended("released: the exchange has no queue for it"));
