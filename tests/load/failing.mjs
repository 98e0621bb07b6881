// What is delivered of events for a receiver that fails a share of its requests: `failing.mjs PROGRAM [--rates 10,100] [--seconds 40]
// [--shares 0.2,0.5] [--kinds error,reset]`. One process on one SQLite file, or on the broker and store that HOOKYARD_TEST_AMQP_URL and
// HOOKYARD_TEST_REDIS_URL name. Retries come after 2 s and 4 s; what has not arrived 25 s after the last event is counted as missing.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rates: { type: "string", default: "10,100,1000" },
    shares: { type: "string", default: "0.05,0.2,0.5,0.8,0.9,0.95,1" },
    kinds: { type: "string", default: "error,reset" },
    seconds: { type: "string", default: "40" },
  },
});
const seconds = Number(values.seconds);
const sleep = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

/** The decision is the message's and the attempt's, so that it is the same however often it is asked. */
const fails = (share, id, attempt) => createHash("sha256").update(`${id}/${attempt}`).digest().readUInt32BE() < share * 2 ** 32;

let scene = { share: 0, kind: "error" };
let attempts = new Map();
const receiver = createServer((request, response) => {
  request.resume().on("end", () => {
    const id = request.headers["webhook-id"];
    const seen = attempts.get(id) ?? { first: performance.now(), count: 0, taken: false };
    attempts.set(id, seen);
    const failed = fails(scene.share, id, seen.count);
    seen.count += 1;
    seen.taken ||= !failed;
    if (failed && scene.kind === "reset") return request.socket.resetAndDestroy();
    // A connection that was there and ends without an answer is tried again within the attempt: here each has its own.
    response.writeHead(failed ? 500 : 204, { connection: "close" }).end();
  });
});
await new Promise((done) => { receiver.listen(0, "127.0.0.1", done); });

async function play(program, rate, share, kind) {
  const folder = mkdtempSync(join(tmpdir(), "failing-"));
  const amqp = process.env.HOOKYARD_TEST_AMQP_URL;
  const env = {
    PATH: process.env.PATH, HOOKYARD_DATA_DIR: folder, HOOKYARD_LISTEN: "127.0.0.1:0", HOOKYARD_OPS_LISTEN: "127.0.0.1:0", HOOKYARD_LOG: "info",
    HOOKYARD_JWT_SECRET: randomBytes(32).toString("hex"), HOOKYARD_DELIVERY__ALLOW_NETWORKS: "127.0.0.0/8", HOOKYARD_DELIVERY__RETRY_SCHEDULE: "2s,4s",
    ...(amqp && {
      HOOKYARD_AMQP_URL: amqp, HOOKYARD_REDIS_URL: process.env.HOOKYARD_TEST_REDIS_URL, HOOKYARD_AMQP__PREFIX: `f${randomBytes(4).toString("hex")}`,
      HOOKYARD_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
    }),
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
    const response = await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  (scene = { share, kind }), (attempts = new Map());
  const app = `f-${randomBytes(3).toString("hex")}`;
  await call("/app", { name: app, uid: app });
  await call(`/app/${app}/endpoint`, { url: `http://127.0.0.1:${receiver.address().port}/` });
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
  await sleep(25_000);
  const all = [...attempts.entries()];
  const delivered = all.filter(([, { taken }]) => taken).length / events;
  const waits = all.map(([id, { first }]) => Math.max(0, first - (accepted.get(id) ?? first))).sort((a, b) => a - b);
  server.kill("SIGTERM");
  await new Promise((done) => { server.on("close", done); });
  rmSync(folder, { recursive: true });
  const percent = (part) => `${(part * 100).toFixed(1)} %`;
  console.log([rate, kind, share, percent(1 - share ** 3), percent(delivered), `${all.length}/${events}`, (waits[waits.length >> 1] ?? 0).toFixed(1)].join(" | "));
}

const numbers = (list) => list.split(",").map(Number);
console.log("events/s | fails by | share | three attempts give | delivered | tried once | p50 of the first attempt after the answer (ms)");
for (const rate of numbers(values.rates)) {
  for (const kind of values.kinds.split(",")) for (const share of numbers(values.shares)) await play(positionals[0], rate, share, kind);
}
receiver.close();
