// A process of Hookyard to be measured: on one SQLite file, or on the broker and store that HOOKYARD_TEST_AMQP_URL and
// HOOKYARD_TEST_REDIS_URL name.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const sleep = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

/** A running process, how to call its API as an administrator, and how to end it. */
export async function start(program, more = {}) {
  const folder = mkdtempSync(join(tmpdir(), "measured-"));
  const amqp = process.env.HOOKYARD_TEST_AMQP_URL;
  const env = {
    PATH: process.env.PATH, HOOKYARD_DATA_DIR: folder, HOOKYARD_LISTEN: "127.0.0.1:0", HOOKYARD_OPS_LISTEN: "127.0.0.1:0", HOOKYARD_LOG: "info",
    HOOKYARD_JWT_SECRET: randomBytes(32).toString("hex"), HOOKYARD_DELIVERY__ALLOW_NETWORKS: "127.0.0.0/8",
    ...(amqp && {
      HOOKYARD_AMQP_URL: amqp, HOOKYARD_REDIS_URL: process.env.HOOKYARD_TEST_REDIS_URL, HOOKYARD_AMQP__PREFIX: `f${randomBytes(4).toString("hex")}`,
      HOOKYARD_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
    }),
    ...more,
  };
  const run = (...words) => spawn(program, words, { env, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const text = async (child) => { let all = ""; for await (const part of child.stdout) all += part; return all.trim(); };
  const server = run("run");
  let said = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (part) => { said = (said + part).slice(0, 20_000); });
  let base;
  for (let tries = 0; !base && tries < 300; tries += 1) {
    await sleep(100);
    const places = [...said.matchAll(/127\.0\.0\.1:\d+/g)].map(([place]) => place);
    for (const place of places) if ((await fetch(`http://${place}/api/v1/health`).catch(() => null))?.status === 204) base = `http://${place}/api/v1`;
  }
  if (!base) throw new Error(`it does not start: ${said}`);
  const token = await text(run("token", "create", "--scope", "admin"));
  const call = async (path, body) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const response = await fetch(base + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const stop = async () => {
    server.kill("SIGTERM");
    await new Promise((done) => { server.on("close", done); });
    rmSync(folder, { recursive: true });
  };
  return { call, stop };
}

/** Publishes events at a rate, `rate` a second for so many seconds; when each was accepted, by message id. */
export async function publish(call, app, rate, seconds) {
  const [events, begun] = [rate * seconds, performance.now()];
  const accepted = new Map();
  const sending = [];
  for (let sent = 0; sent < events;) {
    const due = Math.min(events, Math.ceil(((performance.now() - begun) / 1000) * rate));
    for (; sent < due; sent += 100) {
      const messages = Array.from({ length: Math.min(100, due - sent) }, () => ({ eventType: "a", payload: { n: 1 } }));
      sending.push(call(`/app/${app}/msg/batch`, { messages }).then(({ results }) => {
        for (const { id, message } of results) accepted.set(id ?? message?.id, performance.now());
      }));
    }
    sent = due;
    await sleep(20);
  }
  await Promise.all(sending);
  return accepted;
}
