// How soon what waits for an endpoint that hung is there once it answers again, and what that costs another endpoint: `recovery.mjs
// PROGRAM [--waiting 10000] [--takes 500]`, on what service.mjs says. The endpoint hangs until its breaker has been open for a while; then it takes
// so many a second.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { publish, sleep, start } from "./service.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { waiting: { type: "string", default: "10000" }, takes: { type: "string", default: "500" } },
});
const [waiting, takes] = [Number(values.waiting), Number(values.takes)];
/** Seconds of the other endpoint's calm, and events a second for it. */
const [CALM, STEADY] = [20, 50];

const arrived = { hangs: new Map(), well: new Map() };
let [isBack, next] = [false, 0];
const receiver = createServer((request, response) => {
  request.resume().on("end", () => {
    const at = performance.now();
    const id = request.headers["webhook-id"];
    if (request.url === "/well") {
      if (!arrived.well.has(id)) arrived.well.set(id, at);
      return response.writeHead(204).end();
    }
    if (!isBack) return undefined;
    next = Math.max(next, at) + 1000 / takes;
    setTimeout(() => {
      if (!arrived.hangs.has(id)) arrived.hangs.set(id, performance.now());
      response.writeHead(204).end();
    }, next - at);
    return undefined;
  });
});
await new Promise((done) => { receiver.listen(0, "127.0.0.1", done); });

const { call, stop } = await start(positionals[0]);
const url = `http://127.0.0.1:${receiver.address().port}`;
await call("/app", { name: "hangs", uid: "hangs" });
await call("/app", { name: "well", uid: "well" });
const { id } = await call("/app/hangs/endpoint", { url: `${url}/hangs` });
await call("/app/well/endpoint", { url: `${url}/well` });

const p99 = (accepted) => {
  const waits = [...accepted].map(([one, at]) => Math.max(0, (arrived.well.get(one) ?? Infinity) - at)).sort((a, b) => a - b);
  return waits[Math.floor(waits.length * 0.99)];
};
const [calm] = [await publish(call, "well", STEADY, CALM)];
await publish(call, "hangs", waiting / 20, 20);
while ((await call(`/app/hangs/endpoint/${id}`)).breaker !== "open") await sleep(200);
// Longer than anything that left before it opened is out.
await sleep(16_000);
isBack = true;
const during = publish(call, "well", STEADY, 75);
const begun = performance.now();
// Those that hung themselves before the breaker opened have a schedule of their own, and come later.
const last = () => Math.max(begun, ...[...arrived.hangs.values()].slice(-1));
while (arrived.hangs.size < waiting && performance.now() - last() < (arrived.hangs.size ? 20_000 : 180_000)) await sleep(100);
const busy = await during;
const times = [...arrived.hangs.values()].sort((a, b) => a - b);
const [calmly, busily] = [p99(calm), p99(busy)];
console.log(`${times.length} of ${waiting} arrived (the others made an attempt before, and have a schedule of their own), the last ${((times.at(-1) - times[0]) / 1000).toFixed(1)} s after the first good answer (wanted: 25 s at most)`);
console.log(`another endpoint's p99: ${calmly.toFixed(1)} ms before, ${busily.toFixed(1)} ms meanwhile: ${(busily / calmly).toFixed(2)} times (wanted: 1.3 at most)`);
await stop();
receiver.close();
