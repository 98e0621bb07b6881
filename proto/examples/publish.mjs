#!/usr/bin/env node
// Publishes one event to Hookyard and waits until the broker has confirmed it. Needs amqplib (npm install amqplib).
//
//   node publish.mjs amqp://guest:guest@localhost:5672/%2f hookyard.events order.paid '{"order": 4711}' --app acme
//
// DATA is text, @FILE, or - for standard input. Prints the event id. Exits with 0 only if the event was confirmed; otherwise with 1
// (2 for wrong arguments). What was not confirmed may have arrived all the same: publish it again with the same --id, and it is
// recognised.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import amqp from "amqplib";

const USAGE =
  "usage: publish.mjs URL EXCHANGE TYPE DATA [--id ID] [--app APP] [--channels A,B] " +
  "[--form raw|envelope|cloudevents] [--source SOURCE]";

/** How long the broker may take to confirm: one that is short of memory or disk blocks its publishers. */
const CONFIRM_MS = 30_000;

/** The arguments, or nothing if they are wrong. */
function readArguments() {
  const string = { type: "string" };
  const options = { id: string, app: string, channels: string, form: string, source: string };
  const defaults = { id: randomUUID(), channels: "", form: "raw", source: "urn:example:publish" };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const [url, exchange, type, data] = positionals;
    const args = { ...defaults, ...values, url, exchange, type, data };
    return positionals.length === 4 && args.form in forms ? args : undefined;
  } catch {
    return undefined;
  }
}

function readData(data) {
  if (data === "-") return readFileSync(0);
  return data.startsWith("@") ? readFileSync(data.slice(1)) : Buffer.from(data);
}

/** The data as JSON text, or nothing if it is not JSON. */
function jsonText(data) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data).trim();
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}

/** A JSON object of the fields and the data. The data is put in as it is written: parsing it could change its numbers. */
function withData(fields, text) {
  return Buffer.from(`${JSON.stringify(fields).slice(0, -1)},"data":${text}}`);
}

const forms = {
  /** The data is the body; everything else is in properties and headers. */
  raw({ id, app, channels, type, data }) {
    const headers = {};
    if (app) headers["hookyard-app"] = app;
    if (channels) headers["hookyard-channels"] = channels;
    const contentType = jsonText(data) === undefined ? "text/plain" : "application/json";
    const timestamp = Math.floor(Date.now() / 1000);
    return { eventId: id, properties: { contentType, type, messageId: id, timestamp, headers }, body: data };
  },

  /** One JSON object holds everything. */
  envelope({ id, app, channels, type, data }) {
    const text = jsonText(data);
    if (text === undefined) throw new Error("the data of an envelope must be JSON");
    const names = channels.split(",").map((name) => name.trim()).filter(Boolean);
    const body = withData({ event_type: type, event_id: id, app, channels: names }, text);
    return { eventId: id, properties: { contentType: "application/json" }, body };
  },

  /** CloudEvents 1.0 in structured mode. What identifies it is its source and its id together. */
  cloudevents({ id, app, channels, type, data, source }) {
    const text = jsonText(data);
    const fields = {
      specversion: "1.0",
      id,
      source,
      type,
      datacontenttype: text === undefined ? "text/plain" : "application/json",
      hookyardapp: app,
      hookyardchannels: channels || undefined,
    };
    const body = withData(fields, text ?? JSON.stringify(data.toString()));
    return { eventId: `${source} ${id}`, properties: { contentType: "application/cloudevents+json" }, body };
  },
};

async function publish({ url, exchange, type }, properties, body) {
  const connection = await amqp.connect(url);
  // Without listeners, an error would end the process; what matters is whether the confirm comes.
  connection.on("error", () => {});
  try {
    const channel = await connection.createConfirmChannel();
    // The broker sends a message back before it confirms it.
    let returned = false;
    channel.on("return", () => (returned = true));
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("no confirm from the broker")), CONFIRM_MS);
      const settled = (error) => (clearTimeout(late), error ? reject(error) : resolve());
      channel.on("error", settled);
      // AMQP allows routing keys of 255 bytes; the type itself is in the message.
      const options = { ...properties, persistent: true, mandatory: true };
      channel.publish(exchange, type.slice(0, 255), body, options, settled);
    });
    if (returned) throw new Error(`returned by the broker, exchange ${exchange} has no queue for it`);
  } finally {
    connection.close().catch(() => {});
  }
}

const args = readArguments();
if (!args) {
  console.error(USAGE);
  process.exit(2);
}
try {
  const { eventId, properties, body } = forms[args.form]({ ...args, data: readData(args.data) });
  await publish(args, properties, body);
  console.log(eventId);
  process.exit(0);
} catch (error) {
  // A connection that is blocked does not close: leave without it.
  console.error(`not confirmed: ${error.message}; try again with --id ${args.id}`);
  process.exit(1);
}
