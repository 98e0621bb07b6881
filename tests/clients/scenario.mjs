// Every resource through the official JavaScript client: `scenario.mjs MODULES SERVER_URL TOKEN`, where MODULES is the folder that
// `npm install` filled. Ends with `ok`, or with what was wrong.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [modules, serverUrl, token] = process.argv.slice(2);
const { ApiException, Svix, Webhook, WebhookVerificationError } = createRequire(join(resolve(modules), "index.js"))("svix");

const hits = [];
let failing = false;

const receiver = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    hits.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(request.url === "/flaky" && failing ? 500 : 204).end();
  });
});
await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${receiver.address().port}`;

async function eventually(what, condition) {
  for (let turn = 0; turn < 600; turn += 1) {
    const found = await condition();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`not in time: ${what}`);
}

async function refused(status, call) {
  await assert.rejects(call, (error) => error instanceof ApiException && error.code === status && Boolean(error.body.code));
}

const svix = new Svix(token, { serverUrl });
await svix.health.get();

// Applications.
const app = await svix.application.create({ name: "JavaScript", uid: "javascript", metadata: { tier: "gold" } });
assert.equal((await svix.application.get("javascript")).id, app.id);
assert.equal((await svix.application.getOrCreate({ name: "JavaScript", uid: "javascript" })).id, app.id);
await refused(409, () => svix.application.create({ name: "Again", uid: "javascript" }));
assert.equal((await svix.application.upsert("javascript", { name: "Renamed", uid: "javascript" })).name, "Renamed");
assert.equal((await svix.application.patch("javascript", { name: "Patched" })).name, "Patched");
assert.ok((await svix.application.list()).data.some((found) => found.id === app.id));

// Event types.
const schemas = { 1: { type: "object", properties: { id: { type: "integer" } } } };
await svix.eventType.create({ name: "js.created", description: "Something was made", schemas });
await refused(409, () => svix.eventType.create({ name: "js.created", description: "again" }));
assert.deepEqual((await svix.eventType.get("js.created")).schemas, schemas);
assert.equal((await svix.eventType.upsert("js.created", { description: "Changed" })).description, "Changed");
assert.equal((await svix.eventType.patch("js.created", { deprecated: true })).deprecated, true);
assert.ok((await svix.eventType.list()).data.some((found) => found.name === "js.created"));

// Endpoints.
const endpoint = await svix.endpoint.create("javascript", { url: `${url}/ok`, uid: "ok", description: "one" });
const flaky = await svix.endpoint.create("javascript", { url: `${url}/flaky`, uid: "flaky", channels: ["eu"] });
const updated = await svix.endpoint.upsert("javascript", "ok", { url: `${url}/ok`, uid: "ok", description: "two" });
assert.deepEqual([updated.id, updated.description], [endpoint.id, "two"]);
assert.equal((await svix.endpoint.patch("javascript", "ok", { description: "three" })).description, "three");
await svix.endpoint.setHeaders("javascript", "ok", { headers: { "x-one": "1" } });
await svix.endpoint.patchHeaders("javascript", "ok", { headers: { "x-two": "2" } });
assert.deepEqual((await svix.endpoint.getHeaders("javascript", "ok")).headers, { "x-one": "1", "x-two": "2" });
assert.deepEqual((await svix.endpoint.list("javascript")).data.map((found) => found.uid).sort(), ["flaky", "ok"]);
await refused(404, () => svix.endpoint.get("javascript", "nobody"));

// Messages, and what the receiver got.
const payload = { id: 1, text: "ü" };
const message = await svix.message.create("javascript", { eventType: "js.created", eventId: "one", payload });
await refused(409, () => svix.message.create("javascript", { eventType: "js.created", eventId: "one", payload }));
const first = await eventually("the first delivery", () => hits.find((hit) => hit.path === "/ok"));
assert.deepEqual([first.headers["x-one"], first.headers["x-two"]], ["1", "2"]);
const { key } = await svix.endpoint.getSecret("javascript", "ok");
new Webhook(key).verify(first.body, first.headers);
assert.deepEqual(JSON.parse(first.body), payload);
assert.throws(() => new Webhook(`whsec_${"A".repeat(32)}`).verify(first.body, first.headers), WebhookVerificationError);
assert.equal((await svix.message.get("javascript", message.id)).eventId, "one");
const listed = await svix.message.list("javascript", { eventTypes: ["js.created"], limit: 1 });
assert.deepEqual(listed.data.map((found) => found.id), [message.id]);
await svix.message.create("javascript", { eventType: "js.created", payload: { id: 2 } });

// Attempts, destinations, resend.
const attempt = await eventually("the attempt is in the log", async () => {
  const { data } = await svix.messageAttempt.listByMsg("javascript", message.id);
  return data[0];
});
assert.deepEqual([attempt.status, attempt.responseStatusCode, attempt.endpointId], [0, 204, endpoint.id]);
assert.ok(attempt.timestamp instanceof Date);
assert.equal((await svix.messageAttempt.get("javascript", message.id, attempt.id)).id, attempt.id);
const destinations = await svix.messageAttempt.listAttemptedDestinations("javascript", message.id);
assert.equal(destinations.data[0].id, endpoint.id);
const attempted = await svix.messageAttempt.listAttemptedMessages("javascript", "ok");
assert.ok(attempted.data.some((found) => found.id === message.id));
await svix.messageAttempt.resend("javascript", message.id, "ok");
await eventually("the resend", async () => (await svix.messageAttempt.listByMsg("javascript", message.id)).data.length === 2);
const filter = { status: 0, eventTypes: ["js.created"], limit: 2 };
const page = await svix.messageAttempt.listByEndpoint("javascript", "ok", filter);
assert.deepEqual([page.data.length, page.done], [2, false]);
const rest = await svix.messageAttempt.listByEndpoint("javascript", "ok", { ...filter, iterator: page.iterator });
assert.equal(rest.done, true);
await svix.messageAttempt.expungeContent("javascript", message.id, attempt.id);

// A receiver that fails, and is recovered.
failing = true;
const since = new Date(Date.now() - 5000);
const lost = await svix.message.create("javascript", { eventType: "js.created", channels: ["eu"], payload: { id: 3 } });
await eventually("three failures", async () => {
  const { data } = await svix.messageAttempt.listAttemptedMessages("javascript", "flaky");
  return data[0]?.status === 2;
});
const stats = await svix.endpoint.getStats("javascript", "flaky");
assert.deepEqual([stats.fail, stats.success], [1, 0]);
failing = false;
const task = await svix.endpoint.recover("javascript", "flaky", { since });
assert.equal(task.task, "endpoint.recover");
await eventually("the recovery", async () => (await svix.endpoint.getStats("javascript", "flaky")).success === 1);
const ids = hits.filter((hit) => hit.path === "/flaky").map((hit) => hit.headers["webhook-id"]);
assert.deepEqual(ids, Array(4).fill(lost.id));

// Rotation: both secrets sign.
await svix.endpoint.rotateSecret("javascript", "ok", {});
const fresh = (await svix.endpoint.getSecret("javascript", "ok")).key;
assert.notEqual(fresh, key);
await eventually("both secrets sign", async () => {
  const example = await svix.endpoint.sendExample("javascript", "ok", { eventType: "js.created" });
  const hit = await eventually("the example", () => hits.find((found) => found.headers["webhook-id"] === example.id));
  new Webhook(key).verify(hit.body, hit.headers);
  try {
    new Webhook(fresh).verify(hit.body, hit.headers);
    return true;
  } catch {
    // A dispatcher may know the endpoint as it was some seconds ago.
    return false;
  }
});

// The customer's own portal sees its application alone.
const portal = await svix.authentication.appPortalAccess("javascript", {});
const own = new Svix(portal.token, { serverUrl });
assert.equal((await own.endpoint.list("javascript")).data.length, 2);
await refused(403, () => own.application.list());
await refused(403, () => own.endpoint.list("default"));
await own.authentication.logout();
await eventually("the portal's token is good no longer", () =>
  own.endpoint.list("javascript").then(() => false, (error) => error.code === 401));

// The end of everything.
await svix.message.expungeContent("javascript", message.id);
const kept = await svix.message.get("javascript", message.id, { withContent: true });
assert.deepEqual(kept.payload, { expired: true });
await svix.endpoint.delete("javascript", flaky.id);
await svix.eventType.delete("js.created");
assert.equal((await svix.eventType.get("js.created")).archived, true);
await svix.application.delete("javascript");
await refused(404, () => svix.application.get("javascript"));
receiver.closeAllConnections();
receiver.close();
console.log("ok");
