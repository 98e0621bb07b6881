// What is delivered of events for a receiver that fails a share of its requests: `failing.mjs PROGRAM [--rates 10,100] [--seconds 40]
// [--shares 0.2,0.5] [--kinds error,reset]`, on what service.mjs says. Retries come after 2 s and 4 s; what has not arrived 25 s after the last event is counted as missing.
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { publish, sleep, start } from "./service.mjs";

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
  const { call, stop } = await start(program, { HOOKYARD_DELIVERY__RETRY_SCHEDULE: "2s,4s" });
  (scene = { share, kind }), (attempts = new Map());
  const app = `f-${randomBytes(3).toString("hex")}`;
  await call("/app", { name: app, uid: app });
  await call(`/app/${app}/endpoint`, { url: `http://127.0.0.1:${receiver.address().port}/` });
  const accepted = await publish(call, app, rate, seconds);
  await sleep(25_000);
  const [all, events] = [[...attempts.entries()], rate * seconds];
  const delivered = all.filter(([, { taken }]) => taken).length / events;
  const waits = all.map(([id, { first }]) => Math.max(0, first - (accepted.get(id) ?? first))).sort((a, b) => a - b);
  await stop();
  const percent = (part) => `${(part * 100).toFixed(1)} %`;
  console.log([rate, kind, share, percent(1 - share ** 3), percent(delivered), `${all.length}/${events}`, (waits[waits.length >> 1] ?? 0).toFixed(1)].join(" | "));
}

const numbers = (list) => list.split(",").map(Number);
console.log("events/s | fails by | share | three attempts give | delivered | tried once | p50 of the first attempt after the answer (ms)");
for (const rate of numbers(values.rates)) {
  for (const kind of values.kinds.split(",")) for (const share of numbers(values.shares)) await play(positionals[0], rate, share, kind);
}
receiver.close();
