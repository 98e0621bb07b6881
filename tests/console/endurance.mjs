// A stream that goes on: modules, address, token, seconds, events per second, endpoints, messages before it begins. The page stays
// quick, and its memory flat.
import assert from "node:assert/strict";
import { browser, client, receiver, until } from "./stage.mjs";

const [, , modules, base, token, ...numbers] = process.argv;
const [seconds, rate, endpoints, before] = numbers.map(Number);
/** The longest task people do not notice much, in ms. */
const LONGEST = 100;
const api = client(base, token);
const mine = await receiver();
for (let number = 0; number < endpoints; number += 1) {
  await api("POST", "/app/default/endpoint", { url: `${mine.url}/${number}`, name: `Endpoint ${number}`, eventTypes: [`kind.${number}`] });
}
/** Publishes so many events, each for one of the endpoints. */
let sent = 0;
const publish = (many) => api("POST", "/app/default/msg/batch", {
  messages: Array.from({ length: many }, () => ({ eventType: `kind.${(sent += 1) % endpoints}`, payload: { number: sent } })),
});
while (sent < before) await publish(Math.min(100, before - sent));
await until("what was published before is delivered", () => mine.got.length >= sent, 300_000);

const { page, close } = await browser(modules, base);
await page.goto(`/#token=${token}`);
await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
await page.getByRole("link", { name: "Activity" }).click();
await page.getByText("Live", { exact: true }).waitFor();
await page.evaluate(() => {
  globalThis.tasks = [];
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) globalThis.tasks.push(task.duration);
  }).observe({ entryTypes: ["longtask"] });
});
const devtools = await page.context().newCDPSession(page);
const memory = async () => {
  await devtools.send("HeapProfiler.collectGarbage");
  return page.evaluate(() => performance.memory.usedJSHeapSize / 1_000_000);
};

const begun = Date.now();
const first = sent;
let early;
while (Date.now() - begun < seconds * 1_000) {
  const due = Math.min(Math.floor(((Date.now() - begun) / 1_000) * rate) - (sent - first), 100);
  if (due > 0) {
    await publish(due);
  }
  if (early === undefined && Date.now() - begun > (seconds * 1_000) / 5) {
    early = await memory();
    // What collecting took is not the page's.
    await page.evaluate(() => { globalThis.tasks = []; });
  }
  await new Promise((later) => { setTimeout(later, 50); });
}
const tasks = await page.evaluate(() => globalThis.tasks);
const longest = Math.max(0, ...tasks);
await until("everything arrives", () => mine.got.length >= sent);
const late = await memory();
const shown = await page.getByRole("list", { name: "Attempts" }).getByRole("listitem").count();
console.error(`${before} messages there, ${sent - first} events in ${seconds} s; ${tasks.length} tasks over 50 ms, the longest ${longest.toFixed(0)} ms; memory ${early.toFixed(1)} and ${late.toFixed(1)} MB; ${shown} shown`);
assert.equal(shown, Math.min(100, sent - first));
assert(longest <= LONGEST, `a task took ${longest} ms`);
assert(late < early * 1.25 + 2, `memory grew from ${early} to ${late} MB`);
await close();
mine.close();
console.log("ok");
