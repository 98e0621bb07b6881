// Every call of a release of the official JavaScript client: `every_call.mjs MODULES SERVER_URL TOKEN`, where MODULES is the folder
// that `npm install` filled.
//
// It looks at what the release has, calls each method with arguments made of the fields that this release knows, and judges
// the answer by what the release itself expects. One line of JSON a call comes out: ok, or why not, or why it was skipped. The
// server has to let receivers on 127.0.0.1 through.
//
// Whatever a check needs besides the call it is about is made with plain requests in the words of the published description,
// so that one call that fails takes no other with it. Fields are given by their new and their old name: a release sends those
// it knows.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const [modules, serverUrl, token] = process.argv.slice(2);
const place = join(resolve(modules), "index.js");
const manifest = JSON.parse(readFileSync(join(resolve(modules), "node_modules/svix/package.json"), "utf8"));

const svixPackage = await imported();
const { ApiException, Svix, Webhook, WebhookVerificationError, messageInRaw } = svixPackage;

async function imported() {
  try {
    return createRequire(place)("svix");
  } catch {
    // A release that is an ECMAScript module alone.
  }
  try {
    return await import(pathToFileURL(createRequire(place).resolve("svix")));
  } catch (error) {
    const wanted = Number(/\d+/.exec(manifest.engines?.node ?? "0"));
    if (wanted <= Number(process.versions.node.split(".")[0])) throw error;
    console.log(JSON.stringify({ call: "import", skipped: `needs Node ${wanted}` }));
    process.exit(0);
  }
}

// What an open-source server does not have, by the beginning of the name.
const HOSTED = "a product of the hosted service";
const BEYOND = "not in the published description";
const NOT_SERVED = {
  "authentication.expireAll": BEYOND,
  "authentication.getStreamPollerToken": `${HOSTED}: streaming`,
  "authentication.rotateStreamPollerToken": `${HOSTED}: streaming`,
  "authentication.stream": `${HOSTED}: streaming`,
  "autoconfigSubscription.": `${HOSTED}: autoconfig`,
  "connector.": `${HOSTED}: connectors`,
  "destination.": `${HOSTED}: destinations`,
  "endpoint.bulkReplay": BEYOND,
  "endpoint.getAttemptStats": BEYOND,
  "endpoint.oauth": `${HOSTED}: OAuth of endpoints`,
  "endpoint.patchTransformation": `${HOSTED}: transformations`,
  "endpoint.transformation": `${HOSTED}: transformations`,
  "environment.": `${HOSTED}: export and import of environments`,
  "eventType.importOpen": BEYOND,
  "ingest.": `${HOSTED}: ingest`,
  "integration.": `${HOSTED}: integrations`,
  "management.": `${HOSTED}: management of its tokens`,
  "message.bulkExpungeContent": BEYOND,
  "message.expungeAllContents": BEYOND,
  "message.poller.": `${HOSTED}: polling endpoints`,
  "message.precheck": BEYOND,
  operationalWebhook: `${HOSTED}: operational webhooks`,
  "statistics.": `${HOSTED}: its statistics`,
  "streaming.": `${HOSTED}: streaming`,
};

// How fields are called from 2.0 on, and before.
const FILTERS = ["eventTypes", "filterTypes"];
const RATES = ["throttleRate", "rateLimit"];

const svix = new Svix(token, { serverUrl });
const suffix = `js-${manifest.version}-${randomBytes(3).toString("hex")}`;

// --- What the release has -------------------------------------------------------------------------------------------------------

// What the types call private.
const PRIVATE = new Set(["api", "requestCtx", "constructor"]);

function members(object) {
  const found = new Set();
  for (let level = object; level && level !== Object.prototype; level = Object.getPrototypeOf(level)) {
    for (const name of Object.getOwnPropertyNames(level)) if (!PRIVATE.has(name) && !name.startsWith("_")) found.add(name);
  }
  return [...found].sort();
}

// The dotted names of all public methods of a client, those of nested resources too.
function methods(resource, prefix = "") {
  return members(resource).flatMap((name) => {
    const member = resource[name];
    if (typeof member === "function") return prefix ? [prefix + name] : [];
    return member && typeof member === "object" && prefix.split(".").length < 4 ? methods(member, `${prefix}${name}.`) : [];
  });
}

const names = methods(svix);
const called = new Set();
const has = (name) => names.includes(name);

// One method by its dotted name.
function method(name, of = svix) {
  const path = name.split(".");
  const last = path.pop();
  const resource = path.reduce((object, part) => object[part], of);
  const run = (...args) => {
    called.add(name);
    return resource[last](...args);
  };
  run.called = name;
  return run;
}

// From 2.0 on the client asks for no content unless told, and before for all of it unless told.
const contentUnlessTold = !has("application.upsert");
const asked = contentUnlessTold ? {} : { withContent: true };

// --- How checks are told and run ------------------------------------------------------------------------------------------------

const checks = [];
const failures = new Map();
let current = "";

// The check of these calls; it runs once for each of them that the release has.
function check(calls, run) {
  checks.push([calls, run]);
}

// A part of a check: what fails in it is written down, and the next part runs all the same.
async function step(what, run) {
  try {
    await run();
  } catch (error) {
    failures.get(current).push(`${what}: ${reason(error).replace(/\s+/g, " ").slice(0, 600)}`);
  }
}

function reason(error) {
  if (error instanceof ApiException) return `ApiException: ${error.code} ${JSON.stringify(error.body)}`;
  return error instanceof assert.AssertionError ? error.message : String(error);
}

function same(found, expected, what = "it") {
  const message = `${what} is ${JSON.stringify(found)} and should be ${JSON.stringify(expected)}`;
  assert.ok(isDeepStrictEqual(plain(found), plain(expected)), message);
}

// Old releases answer with objects of classes.
function plain(value) {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}

// The fields that this release knows have these values.
function shows(out, expected) {
  for (const [name, value] of Object.entries(expected)) if (isField(out, name)) same(out[name], value, name);
}

// Most releases put all that they know into an answer, if only as undefined; one says it in a table of the class.
function isField(out, name) {
  return name in out || Boolean(out.constructor.getAttributeTypeMap?.().some((attribute) => attribute.name === name));
}

async function refused(status, run) {
  let error;
  try {
    await run();
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error, `was not refused with ${status}`);
  if (!(error instanceof ApiException)) throw error;
  same(error.code, status, "the status");
  if (status === 422) {
    const [problem] = error.body.detail;
    assert.ok(problem.loc && problem.msg && problem.type, JSON.stringify(error.body));
  } else {
    assert.ok(error.body.code && error.body.detail, JSON.stringify(error.body));
  }
}

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function eventually(what, condition, seconds = 12) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await sleep(50);
  }
}

// All of a list in pages of one, each by the iterator of the page before.
async function walk(list, ids = [], options = {}) {
  const seen = [];
  let iterator;
  for (let turn = 0; turn < 3000; turn += 1) {
    const page = await list(...ids, { ...options, limit: 1, ...(iterator ? { iterator } : {}) });
    assert.ok(page.data.length <= 1, `${page.data.length} on a page of one`);
    seen.push(...page.data);
    if (page.done) return seen;
    assert.ok(page.iterator, "neither done nor an iterator");
    iterator = page.iterator;
  }
  throw new Error("does not end");
}

const idsOf = (items) => items.map((item) => item.id);

function madeJustNow(when) {
  assert.ok(when instanceof Date && Math.abs(Date.now() - when) < 120_000, `${when} is not now`);
}

// --- Plain requests, and a receiver ---------------------------------------------------------------------------------------------

async function raw(verb, path, body) {
  const response = await fetch(`${serverUrl.replace(/\/$/, "")}/api/v1${path}`, {
    method: verb,
    headers: { authorization: `Bearer ${token}`, "user-agent": "every-call", ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${verb} ${path} → ${response.status} ${text.slice(0, 300)}`);
  return text ? JSON.parse(text) : null;
}

const hits = [];
const answers = {};
const requests = [];

const receiver = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString();
    const { pathname, searchParams } = new URL(request.url, "http://receiver");
    if (pathname.startsWith("/api/")) {
      // The client itself, which shows what it sends.
      requests.push({ query: Object.fromEntries(searchParams), body: body ? JSON.parse(body) : {} });
      response.writeHead(404, { "content-type": "application/json" }).end('{"code": "not_found", "detail": "it only listens"}');
      return;
    }
    const path = pathname.slice(1);
    hits.push({ path, headers: request.headers, body });
    response.writeHead(answers[path] ?? 200).end(`answer of ${path}`);
  });
});
await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
const listening = `http://127.0.0.1:${receiver.address().port}`;

// What the release sends for a call.
async function sent(call, ...args) {
  await method(call.called, new Svix(token, { serverUrl: listening }))(...args).catch((error) => {
    if (!(error instanceof ApiException)) throw error;
  });
  return requests.at(-1);
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// Whether the release sends an option, and as what it is: one takes the order of a list to pieces.
async function takes(call, ids, options) {
  const { query } = await sent(call, ...ids, options);
  return Object.entries(options).every(([name, value]) => query[snake(name)] === String(value));
}

// Whether the release sends a field of a body.
async function knows(call, ids, body, name) {
  return name in (await sent(call, ...ids, body)).body;
}

// What a release calls a field; where it knows both names, the one that it does not call deprecated.
async function newestOf(both, isKnown) {
  for (const name of both) if (await isKnown(name)) return name;
  throw new Error(`none of ${both}`);
}

const applications = [];
const types = new Set();
let serial = 0;

// A uid that nobody has used.
function fresh(what) {
  serial += 1;
  return `${what}-${serial}-${suffix}`;
}

// An event type's name of this run.
function kind(name) {
  types.add(`${name}.${suffix}`);
  return `${name}.${suffix}`;
}

// Where the receiver answers with this status.
function address(path, status = 200) {
  answers[path] = status;
  return `${listening}/${path}`;
}

// What came to a path of the receiver, perhaps of one message alone.
function got(path, message) {
  return hits.filter((hit) => hit.path === path && (!message || (hit.headers["webhook-id"] ?? hit.headers["svix-id"]) === message));
}

async function newApplication(fields = {}) {
  const { uid } = application();
  await raw("POST", "/app", { name: "Scene", uid, ...fields });
  return uid;
}

// An endpoint whose uid is the receiver's path; it makes one attempt and no more.
function newEndpoint(app, fields = {}, status = 200) {
  const uid = fresh("ep");
  return raw("POST", `/app/${app}/endpoint`, { url: address(uid, status), uid, retrySchedule: [], ...fields });
}

function publish(app, eventType, fields = {}) {
  return raw("POST", `/app/${app}/msg`, { eventType, payload: { n: 1 }, ...fields });
}

// A message that no later endpoint of the application gets by itself: where it goes was decided.
async function alreadyRouted(app) {
  const earlier = await newEndpoint(app);
  const { id } = await publish(app, kind("first"));
  await delivered(earlier.uid, id);
  return id;
}

// The attempts of a message, as soon as there are that many with a result.
function attemptsOf(app, message, count) {
  return eventually(`${count} attempts of ${message}`, async () => {
    const { data } = await raw("GET", `/app/${app}/attempt/msg/${message}?limit=50`);
    return data.length >= count && data.every(({ status }) => status === 0 || status === 2) && data;
  });
}

async function delivered(path, message, count = 1) {
  await eventually("the delivery", () => got(path, message).length >= count);
  return got(path, message)[0];
}

// An endpoint receives what it wants and nothing else.
async function narrows(path, app, wanted, other) {
  const unwanted = await publish(app, other);
  const message = await publish(app, wanted);
  await delivered(path, message.id);
  await sleep(300);
  assert.ok(got(path, unwanted.id).length === 0, "what the filter leaves out was delivered");
}

// --- Health ---------------------------------------------------------------------------------------------------------------------

check(["health.get"], async (get) => {
  await step("answers", () => get());
});

// --- Applications ---------------------------------------------------------------------------------------------------------------

function application(fields = {}) {
  const body = { name: "Acme", uid: fresh("app"), ...fields };
  applications.push(body.uid);
  return body;
}

check(["application.create"], async (create) => {
  await step("shows what was given", async () => {
    const body = application({ metadata: { tier: "gold" } });
    const app = await create(body);
    shows(app, body);
    madeJustNow(app.createdAt);
  });
  for (const name of RATES) {
    if (!(await knows(create, [], { name: "Acme", [name]: 7 }, name))) continue;
    await step(`shows ${name}`, async () => same((await create(application({ [name]: 7 })))[name], 7, name));
  }
  await step("the same idempotency key makes one", async () => {
    const made = [];
    for (const key of ["a", "a", "b"]) made.push((await create({ name: "Once" }, { idempotencyKey: `${key}-${suffix}` })).id);
    applications.push(...made.slice(1));
    same(made[1], made[0]);
    assert.notEqual(made[2], made[0]);
  });
  await step("a uid that is taken", async () => {
    const uid = await newApplication();
    await refused(409, () => create({ name: "Again", uid }));
  });
  await step("no name", () => refused(422, () => create({ name: "" })));
});

check(["application.getOrCreate"], async (getOrCreate) => {
  await step("makes one that is not there", async () => shows(await getOrCreate(application()), { name: "Acme" }));
  await step("gets one that is", async () => {
    const uid = await newApplication();
    shows(await getOrCreate({ name: "Acme", uid }), { name: "Scene", uid });
  });
});

check(["application.get"], async (get) => {
  const uid = await newApplication({ throttleRate: 9, metadata: { a: "b" } });
  await step("by uid and by id", async () => {
    const app = await get(uid);
    shows(app, { uid, name: "Scene", metadata: { a: "b" } });
    same((await get(app.id)).id, app.id);
  });
  for (const name of RATES) await step(`shows ${name}`, async () => shows(await get(uid), { [name]: 9 }));
  await step("not found", () => refused(404, () => get(fresh("nobody"))));
});

check(["application.list"], async (list) => {
  const made = [await newApplication(), await newApplication(), await newApplication()];
  await step("pages of one", async () => {
    const found = await walk(list);
    assert.ok(made.every((uid) => found.some((app) => app.uid === uid)), "an application is missing");
    same(new Set(idsOf(found)).size, found.length, "the number of different ones");
  });
  await step("order", async () => {
    if (!(await takes(list, [], { order: "descending" }))) return;
    const down = idsOf((await list({ order: "descending", limit: 3 })).data);
    const up = idsOf((await list({ order: "ascending", limit: 250 })).data);
    same(down, [...down].sort().reverse());
    same(up, [...up].sort());
  });
  await step("the iterator before", async () => {
    const first = await list({ limit: 1 });
    if (!("prevIterator" in first)) return;
    const second = await list({ limit: 1, iterator: first.iterator });
    same(idsOf((await list({ limit: 1, iterator: second.prevIterator })).data), idsOf(first.data));
  });
});

check(["application.update", "application.upsert"], async (put) => {
  await step("changes", async () => {
    const uid = await newApplication({ metadata: { a: "b" } });
    shows(await put(uid, { name: "Renamed", uid }), { name: "Renamed", uid, metadata: {} });
  });
  await step("makes one that is not there", async () => {
    const body = application();
    shows(await put(body.uid, body), body);
  });
  const uid = await newApplication({ throttleRate: 9, metadata: { a: "b" } });
  await step("keeps what was read and written back", async () => {
    await put(uid, { ...(await svix.application.get(uid)), name: "Renamed" });
    const now = await raw("GET", `/app/${uid}`);
    same([now.name, now.throttleRate, now.metadata], ["Renamed", 9, { a: "b" }]);
  });
  const rate = await newestOf(RATES, (name) => knows(put, [uid], { name: "Acme", [name]: 5 }, name));
  await step(`${rate} read, changed and written back`, async () => {
    await put(uid, { ...(await svix.application.get(uid)), [rate]: 5 });
    same((await raw("GET", `/app/${uid}`)).throttleRate, 5, "the rate");
  });
});

check(["application.patch"], async (patch) => {
  const uid = await newApplication({ throttleRate: 9, metadata: { a: "b" } });
  await step("keeps what is absent", async () => {
    shows(await patch(uid, { name: "Patched" }), { name: "Patched", uid, metadata: { a: "b" } });
    same((await raw("GET", `/app/${uid}`)).throttleRate, 9);
  });
  for (const name of RATES) {
    if (!(await knows(patch, [uid], { [name]: 5 }, name))) continue;
    await step(`changes ${name}`, async () => {
      shows(await patch(uid, { [name]: 5 }), { [name]: 5, metadata: { a: "b" } });
      same((await raw("GET", `/app/${uid}`)).throttleRate, 5);
    });
  }
});

check(["application.delete"], async (remove) => {
  await step("it is gone", async () => {
    const uid = await newApplication();
    await remove(uid);
    await refused(404, () => svix.application.get(uid));
  });
  await step("not found", () => refused(404, () => remove(fresh("nobody"))));
});

// --- Event types ----------------------------------------------------------------------------------------------------------------

const SCHEMAS = { 1: { type: "object", properties: { id: { type: "integer" } } } };

function eventType(fields = {}) {
  serial += 1;
  return { name: kind(`made${serial}`), description: "Something was made", ...fields };
}

async function newEventType(fields) {
  return (await raw("POST", "/event-type", eventType(fields))).name;
}

check(["eventType.create"], async (create) => {
  await step("shows what was given", async () => {
    const body = eventType({ schemas: SCHEMAS, deprecated: true });
    const made = await create(body);
    shows(made, { ...body, archived: false });
    madeJustNow(made.createdAt);
  });
  if (await knows(create, [], eventType({ featureFlag: "beta" }), "featureFlag")) {
    await step("shows featureFlag", async () => {
      shows(await create(eventType({ featureFlag: "beta" })), { featureFlag: "beta" });
    });
  }
  await step("the same idempotency key makes one", async () => {
    const [body, idempotencyKey] = [eventType(), fresh("key")];
    for (let turn = 0; turn < 2; turn += 1) same((await create(body, { idempotencyKey })).name, body.name);
  });
  await step("a name that is taken", async () => {
    const name = await newEventType();
    await refused(409, () => create({ name, description: "again" }));
  });
  await step("a name that cannot be", () => refused(422, () => create({ name: "not a name!", description: "no" })));
});

check(["eventType.get"], async (get) => {
  await step("shows it", async () => {
    const name = await newEventType({ schemas: SCHEMAS, featureFlag: "beta" });
    const expected = { name, description: "Something was made", featureFlag: "beta", archived: false, schemas: SCHEMAS };
    shows(await get(name), expected);
  });
  await step("not found", () => refused(404, () => get(kind("nobody"))));
});

check(["eventType.list"], async (list) => {
  const made = [];
  for (let turn = 0; turn < 3; turn += 1) made.push(await newEventType({ schemas: SCHEMAS }));
  const gone = await newEventType();
  await raw("DELETE", `/event-type/${gone}`);
  const listed = async (options) => (await walk(list, [], options)).map(({ name }) => name);
  await step("pages of one, without what is archived", async () => {
    const found = await listed();
    assert.ok(made.every((name) => found.includes(name)) && !found.includes(gone), String(found));
    same(new Set(found).size, found.length, "the number of different ones");
  });
  await step("includeArchived", async () => assert.ok((await listed({ includeArchived: true })).includes(gone)));
  await step("withContent", async () => {
    const found = (await walk(list, [], { withContent: true })).filter(({ name }) => made.includes(name));
    same(found.map(({ schemas }) => schemas), [SCHEMAS, SCHEMAS, SCHEMAS]);
  });
});

check(["eventType.update", "eventType.upsert"], async (put) => {
  await step("changes", async () => {
    const name = await newEventType();
    shows(await put(name, { description: "Changed", schemas: SCHEMAS }), { name, description: "Changed" });
    same((await raw("GET", `/event-type/${name}`)).schemas, SCHEMAS);
  });
  if (await knows(put, [kind("nobody")], { description: "Changed", featureFlag: "beta" }, "featureFlag")) {
    await step("keeps what was read and written back", async () => {
      const name = await newEventType({ schemas: SCHEMAS, featureFlag: "beta" });
      await put(name, { ...(await svix.eventType.get(name)), description: "Changed" });
      const now = await raw("GET", `/event-type/${name}`);
      same([now.description, now.schemas, now.featureFlag], ["Changed", SCHEMAS, "beta"]);
    });
  }
  await step("makes one that is not there", async () => {
    const { name } = eventType();
    shows(await put(name, { description: "New" }), { name, description: "New" });
  });
});

check(["eventType.patch"], async (patch) => {
  const name = await newEventType({ schemas: SCHEMAS, featureFlag: "beta" });
  await step("keeps what is absent", async () => {
    shows(await patch(name, { description: "Patched" }), { name, description: "Patched" });
    const now = await raw("GET", `/event-type/${name}`);
    same([now.schemas, now.featureFlag, now.archived], [SCHEMAS, "beta", false]);
  });
  await step("archives", async () => shows(await patch(name, { archived: true }), { archived: true }));
});

check(["eventType.delete"], async (remove) => {
  const name = await newEventType();
  await step("archives", async () => {
    await remove(name);
    same((await raw("GET", `/event-type/${name}`)).archived, true);
  });
  if (await takes(remove, [name], { expunge: true })) {
    await step("expunge removes", async () => {
      await remove(name, { expunge: true });
      await refused(404, () => svix.eventType.get(name));
    });
  }
  await step("not found", () => refused(404, () => remove(kind("nobody"))));
});

// --- Endpoints ------------------------------------------------------------------------------------------------------------------

// The oldest releases want the version of every endpoint.
function endpoint(fields = {}) {
  const uid = fresh("ep");
  return { url: address(uid), uid, version: 1, ...fields };
}

check(["endpoint.create"], async (create) => {
  const app = await newApplication();
  const [first, second] = [kind("first"), kind("second")];
  await step("shows what was given", async () => {
    const body = endpoint({ description: "one", channels: ["eu"], metadata: { tier: "gold" } });
    const made = await create(app, body);
    shows(made, { ...body, disabled: false });
    madeJustNow(made.createdAt);
  });
  for (const name of FILTERS) {
    if (!(await knows(create, [app], endpoint({ [name]: [first] }), name))) continue;
    await step(`${name} narrows`, async () => {
      const body = endpoint({ [name]: [first] });
      await create(app, body);
      await narrows(body.uid, app, first, second);
    });
    await step(`shows ${name}`, async () => {
      same((await create(app, endpoint({ [name]: [first, second] })))[name], [first, second], name);
    });
  }
  for (const name of RATES) {
    if (!(await knows(create, [app], endpoint({ [name]: 7 }), name))) continue;
    const body = endpoint({ [name]: 7 });
    await step(`shows ${name}`, async () => same((await create(app, body))[name], 7, name));
    await step(`${name} is taken`, async () => same((await raw("GET", `/app/${app}/endpoint/${body.uid}`)).throttleRate, 7));
  }
  await step("channels narrow", async () => {
    const body = endpoint({ channels: ["eu"] });
    await create(app, body);
    const other = await publish(app, first, { channels: ["us"] });
    const message = await publish(app, first, { channels: ["eu", "us"] });
    await delivered(body.uid, message.id);
    assert.ok(got(body.uid, other.id).length === 0, "another channel's message was delivered");
  });
  await step("the secret is the one that was given", async () => {
    const body = endpoint({ secret: `whsec_${"A".repeat(32)}` });
    await create(app, body);
    same((await raw("GET", `/app/${app}/endpoint/${body.uid}/secret`)).key, body.secret);
  });
  if (await knows(create, [app], endpoint({ headers: { "x-one": "1" } }), "headers")) {
    await step("headers are sent", async () => {
      const body = endpoint({ headers: { "x-one": "1" } });
      await create(app, body);
      const message = await publish(app, first);
      same((await delivered(body.uid, message.id)).headers["x-one"], "1");
    });
  }
  await step("disabled", async () => shows(await create(app, endpoint({ disabled: true })), { disabled: true }));
  await step("the same idempotency key makes one", async () => {
    const [body, options] = [{ url: address("once"), version: 1 }, { idempotencyKey: fresh("key") }];
    same((await create(app, body, options)).id, (await create(app, body, options)).id);
  });
  await step("a uid that is taken", async () => {
    const { uid } = await newEndpoint(app);
    await refused(409, () => create(app, { url: address("taken"), uid, version: 1 }));
  });
  await step("no address", () => refused(422, () => create(app, { url: "no address", version: 1 })));
});

check(["endpoint.get"], async (get) => {
  const app = await newApplication();
  const first = kind("first");
  const fields = { throttleRate: 9, channels: ["eu"], metadata: { a: "b" }, description: "one" };
  const made = await newEndpoint(app, { ...fields, eventTypes: [first] });
  await step("by uid and by id", async () => {
    const found = await get(app, made.uid);
    same(found.id, made.id);
    shows(found, { url: made.url, uid: made.uid, channels: ["eu"], metadata: { a: "b" }, description: "one", disabled: false });
    shows(found, { version: 1 });
    shows(await get(app, made.id), { uid: made.uid });
  });
  for (const name of FILTERS) await step(`shows ${name}`, async () => shows(await get(app, made.uid), { [name]: [first] }));
  for (const name of RATES) await step(`shows ${name}`, async () => shows(await get(app, made.uid), { [name]: 9 }));
  await step("not found", () => refused(404, () => get(app, fresh("nobody"))));
});

check(["endpoint.list"], async (list) => {
  const app = await newApplication();
  const first = kind("first");
  const made = [];
  for (let turn = 0; turn < 3; turn += 1) made.push((await newEndpoint(app, { eventTypes: [first], throttleRate: 9 })).id);
  await step("pages of one", async () => same(idsOf(await walk(list, [app])).sort(), [...made].sort()));
  await step("shows filter and rate", async () => {
    const expected = { eventTypes: [first], filterTypes: [first], throttleRate: 9, rateLimit: 9 };
    for (const item of (await list(app)).data) shows(item, expected);
  });
  await step("order", async () => {
    if (!(await takes(list, [app], { order: "descending" }))) return;
    const up = idsOf((await list(app, { order: "ascending" })).data);
    const down = idsOf((await list(app, { order: "descending" })).data);
    same(up, [...up].sort());
    same(down, [...up].reverse());
  });
  await step("not found", () => refused(404, () => list(fresh("nobody"))));
});

check(["endpoint.update", "endpoint.upsert"], async (put) => {
  const app = await newApplication();
  const [first, second] = [kind("first"), kind("second")];
  const now = (made) => raw("GET", `/app/${app}/endpoint/${made.uid}`);
  await step("changes and replaces", async () => {
    const made = await newEndpoint(app, { description: "one", metadata: { a: "b" }, eventTypes: [first], throttleRate: 9 });
    const found = await put(app, made.uid, { url: made.url, uid: made.uid, version: 1, description: "two" });
    shows(found, { id: made.id, description: "two", metadata: {} });
    const { eventTypes, throttleRate } = await now(made);
    same([eventTypes, throttleRate], [null, null]);
  });
  const read = await newEndpoint(app, { eventTypes: [first], throttleRate: 9, channels: ["eu"], metadata: { a: "b" } });
  await step("keeps what was read and written back", async () => {
    const made = read;
    await put(app, made.uid, { ...(await svix.endpoint.get(app, made.uid)), description: "two" });
    const found = await now(made);
    same([found.description, found.eventTypes, found.throttleRate], ["two", [first], 9]);
    same([found.channels, found.metadata, found.uid], [["eu"], { a: "b" }, made.uid]);
  });
  // A release that has both names reads both, and whoever changes one of them changes the one that is not deprecated.
  for (const [both, field, value] of [[FILTERS, "eventTypes", [second]], [RATES, "throttleRate", 5]]) {
    const name = await newestOf(both, (one) => knows(put, [app, read.uid], { url: read.url, version: 1, [one]: value }, one));
    await step(`${name} read, changed and written back`, async () => {
      await put(app, read.uid, { ...(await svix.endpoint.get(app, read.uid)), [name]: value });
      same((await now(read))[field], value);
    });
  }
  for (const [name, field, value] of namedFields([first])) {
    const made = await newEndpoint(app);
    const body = { url: made.url, uid: made.uid, version: 1, [name]: value };
    if (!(await knows(put, [app, made.uid], body, name))) continue;
    await step(`shows ${name}`, async () => same((await put(app, made.uid, body))[name], value, name));
    await step(`${name} is taken`, async () => same((await now(made))[field], value));
    if (FILTERS.includes(name)) await step(`${name} narrows`, () => narrows(made.uid, app, first, second));
  }
  await step("makes one that is not there", async () => {
    const body = endpoint();
    shows(await put(app, body.uid, body), body);
  });
});

// Filter and rate by the names of all releases, with the name that the description has and a value.
function namedFields(filter) {
  return [...FILTERS.map((name) => [name, "eventTypes", filter]), ...RATES.map((name) => [name, "throttleRate", 7])];
}

check(["endpoint.patch"], async (patch) => {
  const app = await newApplication();
  const [first, second] = [kind("first"), kind("second")];
  const made = await newEndpoint(app, { eventTypes: [first], throttleRate: 9, channels: ["eu"], metadata: { a: "b" } });
  const now = () => raw("GET", `/app/${app}/endpoint/${made.uid}`);
  await step("keeps what is absent", async () => {
    shows(await patch(app, made.uid, { description: "two" }), { description: "two", channels: ["eu"], metadata: { a: "b" } });
    const found = await now();
    same([found.description, found.eventTypes, found.throttleRate], ["two", [first], 9]);
    same([found.channels, found.metadata, found.uid, found.url], [["eu"], { a: "b" }, made.uid, made.url]);
  });
  await step("shows the filter", async () => {
    shows(await patch(app, made.uid, { description: "three" }), { eventTypes: [first], filterTypes: [first] });
  });
  for (const [name, field, value] of namedFields([second])) {
    if (!(await knows(patch, [app, made.uid], { [name]: value }, name))) continue;
    await step(`shows ${name}`, async () => same((await patch(app, made.uid, { [name]: value }))[name], value, name));
    await step(`${name} is taken`, async () => same((await now())[field], value));
  }
  await step("not found", () => refused(404, () => patch(app, fresh("nobody"), { description: "two" })));
});

check(["endpoint.delete"], async (remove) => {
  const app = await newApplication();
  await step("it is gone", async () => {
    const made = await newEndpoint(app);
    await remove(app, made.uid);
    await refused(404, () => svix.endpoint.get(app, made.id));
  });
  await step("not found", () => refused(404, () => remove(app, fresh("nobody"))));
});

check(["endpoint.getSecret"], async (getSecret) => {
  const app = await newApplication();
  await step("it signs", async () => {
    const made = await newEndpoint(app);
    const { key } = await getSecret(app, made.uid);
    assert.ok(key.startsWith("whsec_"), key);
    const message = await publish(app, kind("first"));
    const { headers, body } = await delivered(made.uid, message.id);
    new Webhook(key).verify(body, headers);
  });
  await step("not found", () => refused(404, () => getSecret(app, fresh("nobody"))));
});

function verifies(key, { body, headers }) {
  try {
    new Webhook(key).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

// Whether what is delivered now is signed by exactly these of two keys. A dispatcher may know an endpoint as it was some
// seconds ago.
function signedBy(app, made, [old, byOld], [fresher, byFresher]) {
  return eventually("signed by the right keys", async () => {
    const message = await publish(app, kind("first"));
    const hit = await delivered(made.uid, message.id);
    return verifies(old, hit) === byOld && verifies(fresher, hit) === byFresher;
  });
}

check(["endpoint.rotateSecret"], async (rotate) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  const secret = async () => (await raw("GET", `/app/${app}/endpoint/${made.uid}/secret`)).key;
  const old = await secret();
  await step("it answers", async () => {
    const answer = await rotate(app, made.uid, {});
    if (answer?.key) same(answer.key, await secret());
  });
  await step("there is another secret, and both sign", async () => {
    const now = await secret();
    assert.notEqual(now, old, "the secret is still the same");
    await signedBy(app, made, [old, true], [now, true]);
  });
  await step("the secret that was given", async () => {
    const key = `whsec_${"B".repeat(32)}`;
    await rotate(app, made.uid, { key });
    same(await secret(), key);
  });
  if (await knows(rotate, [app, made.uid], { gracePeriodSeconds: 0 }, "gracePeriodSeconds")) {
    await step("gracePeriodSeconds", async () => {
      const before = await secret();
      await rotate(app, made.uid, { gracePeriodSeconds: 0 });
      await signedBy(app, made, [before, false], [await secret(), true]);
    });
  }
  await step("no secret", () => refused(422, () => rotate(app, made.uid, { key: "no secret" })));
});

check(["endpoint.getHeaders"], async (getHeaders) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  await step("none", async () => same((await getHeaders(app, made.uid)).headers, {}));
  await step("shows them, but not what is secret", async () => {
    await raw("PUT", `/app/${app}/endpoint/${made.uid}/headers`, { headers: { "x-one": "1", authorization: "Bearer secret" } });
    const found = await getHeaders(app, made.uid);
    same(found.headers, { "x-one": "1" });
    same([...found.sensitive].map((name) => name.toLowerCase()), ["authorization"]);
  });
});

check(["endpoint.updateHeaders", "endpoint.headersUpdate", "endpoint.setHeaders"], async (put) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  await step("replaces, and they are sent", async () => {
    await put(app, made.uid, { headers: { "x-one": "1", "x-two": "2" } });
    await put(app, made.uid, { headers: { "x-two": "3" } });
    same((await raw("GET", `/app/${app}/endpoint/${made.uid}/headers`)).headers, { "x-two": "3" });
    const message = await publish(app, kind("first"));
    const { headers } = await delivered(made.uid, message.id);
    same([headers["x-one"], headers["x-two"]], [null, "3"]);
  });
});

check(["endpoint.patchHeaders", "endpoint.headersPatch"], async (patch) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  const path = `/app/${app}/endpoint/${made.uid}/headers`;
  await step("keeps what is absent", async () => {
    await raw("PUT", path, { headers: { "x-one": "1", "x-two": "2" } });
    await patch(app, made.uid, { headers: { "x-two": "3", "x-three": "3" } });
    same((await raw("GET", path)).headers, { "x-one": "1", "x-two": "3", "x-three": "3" });
  });
  await step("null takes one away", async () => {
    await raw("PUT", path, { headers: { "x-one": "1", "x-two": "2" } });
    await patch(app, made.uid, { headers: { "x-two": null } });
    same((await raw("GET", path)).headers, { "x-one": "1" });
  });
});

check(["endpoint.getStats"], async (getStats) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  await step("counts", async () => {
    for (const status of [200, 200, 500]) {
      address(made.uid, status);
      await attemptsOf(app, (await publish(app, kind("first"))).id, 1);
    }
    await eventually("the counts", async () => {
      const { success, fail } = await getStats(app, made.uid);
      return success === 2 && fail === 1;
    });
    shows(await getStats(app, made.uid), { pending: 0, sending: 0, canceled: 0 });
  });
  const ago = (hours) => new Date(Date.now() - hours * 3_600_000);
  if ("until" in (await sent(getStats, app, made.uid, { since: ago(24), until: ago(3) })).query) {
    await step("since and until", async () => {
      shows(await getStats(app, made.uid, { since: ago(24), until: ago(3) }), { success: 0, fail: 0 });
      shows(await getStats(app, made.uid, { since: ago(24) }), { success: 2, fail: 1 });
    });
  }
  await step("not found", () => refused(404, () => getStats(app, fresh("nobody"))));
});

// An endpoint that took the first message, failed two more, and is well again.
async function failedThenWell(app) {
  const made = await newEndpoint(app);
  const since = new Date(Date.now() - 5000);
  const messages = [];
  for (const status of [200, 500, 500]) {
    address(made.uid, status);
    messages.push((await publish(app, kind("first"))).id);
    await attemptsOf(app, messages.at(-1), 1);
  }
  address(made.uid, 200);
  return { made, since, taken: messages[0], lost: messages.slice(1) };
}

// In the oldest releases the call promises nothing but that it answers.
function isTask(out, name) {
  if (out === undefined || !("task" in out)) return;
  assert.ok(out.id, JSON.stringify(out));
  same(out.task, name, "task");
  assert.ok(["running", "finished"].includes(out.status), out.status);
}

check(["endpoint.recover"], async (recover) => {
  const app = await newApplication();
  const { made, since, taken, lost } = await failedThenWell(app);
  await step("the answer names a task", async () => isTask(await recover(app, made.uid, { since }), "endpoint.recover"));
  await step("what failed is sent again, and nothing else", async () => {
    await eventually("both again", () => lost.every((message) => got(made.uid, message).length === 2));
    same(got(made.uid, taken).length, 1);
  });
  await step("not found", () => refused(404, () => recover(app, fresh("nobody"), { since })));
});

check(["endpoint.replayMissing"], async (replayMissing) => {
  const app = await newApplication();
  const since = new Date(Date.now() - 5000);
  const early = await alreadyRouted(app);
  const made = await newEndpoint(app);
  const seen = await publish(app, kind("first"));
  await delivered(made.uid, seen.id);
  await step("the answer names a task", async () => isTask(await replayMissing(app, made.uid, { since }), "endpoint.replay"));
  await step("what the endpoint never got is sent, and nothing else", async () => {
    await delivered(made.uid, early);
    same(got(made.uid, seen.id).length, 1);
  });
});

check(["endpoint.sendExample"], async (sendExample) => {
  const app = await newApplication();
  const [made, other] = [await newEndpoint(app), await newEndpoint(app)];
  await step("it is delivered to this endpoint alone", async () => {
    const name = await newEventType({ schemas: SCHEMAS });
    const message = await sendExample(app, made.uid, { eventType: name });
    shows(message, { eventType: name });
    await delivered(made.uid, message.id);
    assert.ok(got(other.uid).length === 0, "another endpoint got it too");
  });
});

// --- Messages -------------------------------------------------------------------------------------------------------------------

check(["message.create"], async (create) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  const first = kind("first");
  const payload = { n: 1, text: "ü", nested: { list: [1, null, 0.5] } };
  const plainMessage = { eventType: first, payload };
  await step("shows what was given, and delivers it", async () => {
    const body = { ...plainMessage, eventId: fresh("event"), channels: ["eu"] };
    const message = await create(app, body, asked);
    shows(message, body);
    madeJustNow(message.timestamp);
    same(JSON.parse((await delivered(made.uid, message.id)).body), payload);
  });
  if (await takes(create, [app, plainMessage], { withContent: true })) {
    await step("withContent", async () => {
      same((await create(app, plainMessage, { withContent: false })).payload, {});
      same((await create(app, plainMessage, { withContent: true })).payload, payload);
    });
  }
  if (!contentUnlessTold) {
    await step("no content unless told", async () => same((await create(app, plainMessage)).payload, {}));
  }
  await step("the same idempotency key makes one", async () => {
    const options = { idempotencyKey: fresh("key") };
    const once = [(await create(app, plainMessage, options)).id, (await create(app, plainMessage, options)).id];
    same(once[0], once[1]);
    await delivered(made.uid, once[0]);
  });
  await step("an event id that is taken", async () => {
    const eventId = fresh("event");
    await publish(app, first, { eventId });
    await refused(409, () => create(app, { ...plainMessage, eventId }));
  });
  await step("an event type that cannot be", () => refused(422, () => create(app, { eventType: "not a name!", payload })));
  await step("makes the application that comes along", async () => {
    const body = application();
    await create(body.uid, { ...plainMessage, application: body });
    same((await raw("GET", `/app/${body.uid}`)).name, "Acme");
  });
  await step("not found", () => refused(404, () => create(fresh("nobody"), plainMessage)));
});

check(["messageInRaw"], async () => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  for (const [what, text, contentType] of [
    ["JSON as it was written", '{"b" : 1.0,\n  "a": "\\u00fc"}', undefined],
    ["what is no JSON", "<order>\n  <id>1</id>\n</order>", "application/xml"],
  ]) {
    await step(what, async () => {
      const message = await svix.message.create(app, messageInRaw(kind("first"), text, contentType));
      const hit = await delivered(made.uid, message.id);
      same(hit.body, text, "the body");
      same(hit.headers["content-type"], contentType ?? "application/json", "content-type");
      try {
        new Webhook((await raw("GET", `/app/${app}/endpoint/${made.uid}/secret`)).key).verify(hit.body, hit.headers);
      } catch (error) {
        // Older releases read the body as JSON once its signature is good.
        if (!(error instanceof SyntaxError) || !contentType) throw error;
      }
    });
  }
});

check(["message.get"], async (get) => {
  const app = await newApplication();
  const payload = { n: 7 };
  const made = await publish(app, kind("first"), { payload, eventId: fresh("event"), channels: ["eu"] });
  for (const [what, name] of [["by id", "id"], ["by event id", "eventId"]]) {
    await step(what, async () => shows(await get(app, made[name]), { id: made.id, eventId: made.eventId, channels: ["eu"] }));
  }
  await step("content", async () => same((await get(app, made.id, asked)).payload, payload));
  if (await takes(get, [app, made.id], { withContent: true })) {
    await step("withContent: false", async () => same((await get(app, made.id, { withContent: false })).payload, {}));
  }
  if (!contentUnlessTold) await step("no content unless told", async () => same((await get(app, made.id)).payload, {}));
  await step("not found", () => refused(404, () => get(app, "msg_nobody")));
});

check(["message.list"], async (list) => {
  const app = await newApplication();
  const [first, second] = [kind("first"), kind("second")];
  const early = (await publish(app, first, { channels: ["eu"] })).id;
  await sleep(1100);
  const moment = new Date();
  await sleep(100);
  const late = (await publish(app, second, { channels: ["us"] })).id;
  const third = (await publish(app, kind("third"))).id;
  const of = async (options) => idsOf((await list(app, options)).data).sort();
  await step("pages of one", async () => same(idsOf(await walk(list, [app])).sort(), [early, late, third].sort()));
  await step("eventTypes", async () => {
    same(await of({ eventTypes: [first] }), [early]);
    same(await of({ eventTypes: [first, second] }), [early, late].sort());
    same(idsOf(await walk(list, [app], { eventTypes: [first, second] })).sort(), [early, late].sort());
  });
  await step("channel", async () => same(await of({ channel: "us" }), [late]));
  await step("before", async () => same(await of({ before: moment }), [early]));
  await step("after", async () => same(await of({ after: moment }), [late, third].sort()));
  await step("content", async () => same((await list(app, { limit: 1 })).data[0].payload, contentUnlessTold ? { n: 1 } : {}));
  if (await takes(list, [app], { withContent: true })) {
    await step("withContent", async () => {
      same((await list(app, { withContent: true })).data[0].payload, { n: 1 });
      same((await list(app, { withContent: false })).data[0].payload, {});
    });
  }
  await step("not found", () => refused(404, () => list(fresh("nobody"))));
});

check(["message.expungeContent"], async (expunge) => {
  const app = await newApplication();
  for (const [what, name] of [["by id", "id"], ["by event id", "eventId"]]) {
    const made = await publish(app, kind("first"), { eventId: fresh("event") });
    await step(what, async () => {
      await expunge(app, made[name]);
      same((await raw("GET", `/app/${app}/msg/${made.id}?with_content=true`)).payload, { expired: true });
    });
  }
  await step("not found", () => refused(404, () => expunge(app, "msg_nobody")));
});

// --- Attempts -------------------------------------------------------------------------------------------------------------------

// Two endpoints, one well and one not, that have both tried an early and a late message.
async function makeScene() {
  const app = await newApplication();
  const [first, second] = [kind("first"), kind("second")];
  const [well, ill] = [await newEndpoint(app), await newEndpoint(app, {}, 500)];
  const early = await publish(app, first, { channels: ["eu"], eventId: fresh("event") });
  const attempts = await attemptsOf(app, early.id, 2);
  await sleep(1100);
  const moment = new Date();
  await sleep(100);
  const late = await publish(app, second, { channels: ["us"] });
  await attemptsOf(app, late.id, 2);
  return { app, first, second, well, ill, early, late, moment, attempts };
}

let theScene;

function scene() {
  theScene ??= makeScene();
  return theScene;
}

function attemptIsWhole(item, message, where, code) {
  shows(item, { msgId: message.id, endpointId: where.id, url: where.url, responseStatusCode: code, triggerType: 0 });
  shows(item, { status: code === 200 ? 0 : 2, statusText: code === 200 ? "success" : "fail" });
  madeJustNow(item.timestamp);
  if ("responseDurationMs" in item) assert.ok(item.responseDurationMs >= 0 && item.responseDurationMs < 60_000);
}

// The filters of attempts, for a list that `of` reads: some releases take a zero for nothing, and do not send it.
async function narrowsByStatus(list, ids, of, expected) {
  for (const [status, wanted] of expected) {
    if (await takes(list, ids, { status })) same(await of({ status }), wanted, `with status ${status}`);
  }
}

check(["messageAttempt.listByMsg", "messageAttempt.list"], async (list) => {
  const { app, first, second, well, ill, early, moment } = await scene();
  const where = { [well.id]: "well", [ill.id]: "ill" };
  const of = async (options) => (await list(app, early.id, options)).data.map((item) => where[item.endpointId]).sort();
  const answer = async (options) => (await list(app, early.id, options)).data.find((item) => item.endpointId === well.id).response;
  await step("each attempt whole", async () => {
    for (const item of (await list(app, early.id)).data) {
      const good = item.endpointId === well.id;
      attemptIsWhole(item, early, good ? well : ill, good ? 200 : 500);
    }
  });
  await step("pages of one", async () => {
    same((await walk(list, [app, early.id])).map((item) => where[item.endpointId]).sort(), ["ill", "well"]);
  });
  await step("by event id", async () => same((await list(app, early.eventId)).data.length, 2));
  await step("status", () => narrowsByStatus(list, [app, early.id], of, [[0, ["well"]], [2, ["ill"]]]));
  await step("statusCodeClass", async () => {
    same([await of({ statusCodeClass: 200 }), await of({ statusCodeClass: 500 })], [["well"], ["ill"]]);
  });
  await step("channel", async () => same([await of({ channel: "eu" }), await of({ channel: "us" })], [["ill", "well"], []]));
  await step("eventTypes", async () => {
    if (!("event_types" in (await sent(list, app, early.id, { eventTypes: [first] })).query)) return;
    same(await of({ eventTypes: [first, second] }), ["ill", "well"]);
    same(await of({ eventTypes: [second, kind("third")] }), []);
  });
  await step("before", async () => same(await of({ before: moment }), ["ill", "well"]));
  await step("after", async () => same(await of({ after: moment }), []));
  if (await takes(list, [app, early.id], { endpointId: ill.uid })) {
    await step("endpointId", async () => same(await of({ endpointId: ill.uid }), ["ill"]));
  }
  await step("content", async () => {
    same((await answer()) === `answer of ${well.uid}`, contentUnlessTold, "whether the response is shown");
  });
  if (await takes(list, [app, early.id], { withContent: true })) {
    await step("withContent", async () => {
      same(await answer({ withContent: true }), `answer of ${well.uid}`);
      assert.ok(!(await answer({ withContent: false })).includes("answer"));
    });
  }
  await step("not found", () => refused(404, () => list(app, "msg_nobody")));
});

check(["messageAttempt.listByEndpoint"], async (list) => {
  const { app, first, second, well, ill, early, late, moment } = await scene();
  const which = { [early.id]: "early", [late.id]: "late" };
  const at = (place) => async (options) => (await list(app, place.uid, options)).data.map((item) => which[item.msgId]).sort();
  const of = at(well);
  await step("each attempt whole", async () => {
    for (const item of (await list(app, ill.uid)).data) attemptIsWhole(item, item.msgId === early.id ? early : late, ill, 500);
  });
  await step("pages of one", async () => {
    same((await walk(list, [app, well.id])).map((item) => which[item.msgId]).sort(), ["early", "late"]);
  });
  await step("status", () => narrowsByStatus(list, [app, ill.uid], at(ill), [[0, []], [2, ["early", "late"]]]));
  await step("statusCodeClass", async () => {
    same([await of({ statusCodeClass: 200 }), await of({ statusCodeClass: 500 })], [["early", "late"], []]);
  });
  await step("channel", async () => same(await of({ channel: "us" }), ["late"]));
  await step("eventTypes", async () => {
    same([await of({ eventTypes: [first] }), await of({ eventTypes: [first, second] })], [["early"], ["early", "late"]]);
  });
  await step("before", async () => same(await of({ before: moment }), ["early"]));
  await step("after", async () => same(await of({ after: moment }), ["late"]));
  await step("not found", () => refused(404, () => list(app, fresh("nobody"))));
});

check(["messageAttempt.listAttemptsForEndpoint"], async (list) => {
  const { app, well, ill, early } = await scene();
  await step("each attempt whole", async () => {
    for (const [place, code] of [[well, 200], [ill, 500]]) {
      const { data } = await list(app, early.id, place.uid);
      same(data.length, 1, "the number of attempts");
      attemptIsWhole(data[0], early, place, code);
    }
  });
  await step("by event id, in pages of one", async () => same((await walk(list, [app, early.eventId, well.id])).length, 1));
  await step("status", () => {
    const count = async (options) => (await list(app, early.id, ill.uid, options)).data.length;
    return narrowsByStatus(list, [app, early.id, ill.uid], count, [[0, 0], [2, 1]]);
  });
});

check(["messageAttempt.get"], async (get) => {
  const { app, well, early, attempts } = await scene();
  const made = attempts.find((item) => item.endpointId === well.id);
  for (const [what, name] of [["by id", "id"], ["by event id", "eventId"]]) {
    await step(what, async () => {
      const item = await get(app, early[name], made.id);
      attemptIsWhole(item, early, well, 200);
      shows(item, { id: made.id, response: `answer of ${well.uid}` });
    });
  }
  await step("not found", () => refused(404, () => get(app, early.id, "atmpt_nobody")));
});

check(["messageAttempt.listAttemptedMessages"], async (list) => {
  const { app, first, second, well, ill, early, late, moment } = await scene();
  const which = { [early.id]: "early", [late.id]: "late" };
  const at = (place) => async (options) => (await list(app, place.uid, options)).data.map((item) => which[item.id]).sort();
  const of = at(well);
  await step("each message whole", async () => {
    const item = (await list(app, ill.uid)).data.find(({ id }) => id === early.id);
    shows(item, { eventType: first, channels: ["eu"], eventId: early.eventId, status: 2, statusText: "fail" });
    // One release makes a date of nothing.
    assert.ok(item.nextAttempt == null || Number.isNaN(Number(item.nextAttempt)), `nextAttempt is ${item.nextAttempt}`);
    same(item.payload, contentUnlessTold ? { n: 1 } : {});
  });
  await step("pages of one", async () => {
    same((await walk(list, [app, well.id])).map((item) => which[item.id]).sort(), ["early", "late"]);
  });
  await step("status", async () => {
    await narrowsByStatus(list, [app, well.uid], of, [[0, ["early", "late"]], [2, []]]);
    await narrowsByStatus(list, [app, ill.uid], at(ill), [[0, []], [2, ["early", "late"]]]);
  });
  await step("channel", async () => same(await of({ channel: "us" }), ["late"]));
  await step("before", async () => same(await of({ before: moment }), ["early"]));
  await step("after", async () => same(await of({ after: moment }), ["late"]));
  await step("eventTypes", async () => {
    if (!("event_types" in (await sent(list, app, well.uid, { eventTypes: [first] })).query)) return;
    same([await of({ eventTypes: [first] }), await of({ eventTypes: [first, second] })], [["early"], ["early", "late"]]);
  });
  if (await takes(list, [app, well.uid], { withContent: true })) {
    await step("withContent", async () => {
      same((await list(app, well.uid, { withContent: true })).data[0].payload, { n: 1 });
      same((await list(app, well.uid, { withContent: false })).data[0].payload, {});
    });
  }
  await step("not found", () => refused(404, () => list(app, fresh("nobody"))));
});

check(["messageAttempt.listAttemptedDestinations"], async (list) => {
  const { app, well, ill, early } = await scene();
  for (const [what, name] of [["by id", "id"], ["by event id", "eventId"]]) {
    await step(what, async () => {
      const { data } = await list(app, early[name]);
      same(idsOf(data).sort(), [well.id, ill.id].sort());
      shows(data.find(({ id }) => id === ill.id), { status: 2, statusText: "fail" });
      shows(data.find(({ id }) => id === well.id), { status: 0, url: well.url, uid: well.uid, description: "" });
    });
  }
  await step("pages of one", async () => same(idsOf(await walk(list, [app, early.id])).sort(), [well.id, ill.id].sort()));
  await step("not found", () => refused(404, () => list(app, "msg_nobody")));
});

check(["messageAttempt.resend"], async (resend) => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  const message = await publish(app, kind("first"), { eventId: fresh("event") });
  await attemptsOf(app, message.id, 1);
  await step("by id", async () => {
    await resend(app, message.id, made.uid);
    await delivered(made.uid, message.id, 2);
    same((await attemptsOf(app, message.id, 2)).map(({ triggerType }) => triggerType).sort(), [0, 1], "triggerType");
  });
  await step("by event id", async () => {
    await resend(app, message.eventId, made.uid);
    await delivered(made.uid, message.id, 3);
  });
  await step("not found", () => refused(404, () => resend(app, "msg_nobody", made.uid)));
});

check(["messageAttempt.expungeContent"], async (expunge) => {
  const app = await newApplication();
  await newEndpoint(app);
  const message = await publish(app, kind("first"), { eventId: fresh("event") });
  for (const [what, name] of [["by id", "id"], ["by event id", "eventId"]]) {
    const one = await publish(app, kind("first"), { eventId: fresh("event") });
    const [made] = await attemptsOf(app, one.id, 1);
    await step(what, async () => {
      await expunge(app, one[name], made.id);
      const now = await raw("GET", `/app/${app}/msg/${one.id}/attempt/${made.id}`);
      assert.ok(!now.response.includes("answer"), now.response);
      same(now.responseStatusCode, 200, "the status code");
    });
  }
  await step("not found", () => refused(404, () => expunge(app, message.id, "atmpt_nobody")));
});

// --- Background tasks -----------------------------------------------------------------------------------------------------------

// A task that brings back two messages.
async function recovery() {
  const app = await newApplication();
  const { made, since } = await failedThenWell(app);
  return (await raw("POST", `/app/${app}/endpoint/${made.uid}/recover`, { since })).id;
}

check(["backgroundTask.get"], async (get) => {
  const ended = async (task, expected) => {
    await eventually("the end", async () => (await get(task)).status === "finished");
    const found = await get(task);
    shows(found, { id: task, ...expected });
    if ("updatedAt" in found) madeJustNow(found.updatedAt);
  };
  await step("it ends, and says how many", async () => {
    await ended(await recovery(), { task: "endpoint.recover", data: { messagesSent: 2 } });
  });
  await step("a replay", async () => {
    const app = await newApplication();
    const since = new Date(Date.now() - 5000);
    await alreadyRouted(app);
    const made = await newEndpoint(app);
    const { id } = await raw("POST", `/app/${app}/endpoint/${made.uid}/replay-missing`, { since });
    await ended(id, { task: "endpoint.replay", data: { messagesSent: 1 } });
  });
  await step("not found", () => refused(404, () => get("qtask_nobody")));
});

check(["backgroundTask.list", "backgroundTask.listByEndpoint"], async (list) => {
  const tasks = [await recovery(), await recovery()];
  const holds = async (options) => {
    const found = idsOf((await list({ ...options, limit: 250 })).data);
    return tasks.map((task) => found.includes(task));
  };
  await step("pages of one", async () => {
    const found = idsOf(await walk(list));
    assert.ok(tasks.every((task) => found.includes(task)), "a task is missing");
  });
  // This release sends the letters of these filters as parameters of their own, `0=f&1=i`: no server can read that.
  if (manifest.version === "1.45.1") return;
  await step("status", async () => {
    await eventually("both ended", async () => (await holds({ status: "finished" })).every(Boolean));
    same(await holds({ status: "failed" }), [false, false]);
  });
  await step("task", async () => {
    same(await holds({ task: "endpoint.recover" }), [true, true]);
    same(await holds({ task: "endpoint.replay" }), [false, false]);
  });
});

// --- Authentication -------------------------------------------------------------------------------------------------------------

async function seesItsApplicationAlone(access, app) {
  assert.ok(access.token && access.url.startsWith("http"), JSON.stringify(access));
  const own = new Svix(access.token, { serverUrl });
  same((await own.endpoint.list(app)).data.length, 0);
  const other = await newApplication();
  await refused(403, () => own.application.list());
  await refused(403, () => own.endpoint.list(other));
}

check(["authentication.appPortalAccess"], async (access) => {
  const app = await newApplication();
  await step("its token sees its application alone", async () => seesItsApplicationAlone(await access(app, {}), app));
  if (await knows(access, [app], { application: { name: "Acme" } }, "application")) {
    await step("makes the application that comes along", async () => {
      const body = application();
      await access(body.uid, { application: body });
      same((await raw("GET", `/app/${body.uid}`)).name, "Acme");
    });
  }
  await step("not found", () => refused(404, () => access(fresh("nobody"), {})));
});

check(["authentication.dashboardAccess"], async (access) => {
  const app = await newApplication();
  await step("its token sees its application alone", async () => seesItsApplicationAlone(await access(app), app));
  await step("not found", () => refused(404, () => access(fresh("nobody"))));
});

check(["authentication.logout"], async () => {
  const app = await newApplication();
  await step("the token is good no longer", async () => {
    const own = new Svix((await raw("POST", `/auth/app-portal-access/${app}`, {})).token, { serverUrl });
    await own.endpoint.list(app);
    await method("authentication.logout", own)();
    await eventually("401", () => own.endpoint.list(app).then(() => false, (error) => error.code === 401));
  });
});

// --- Signatures -----------------------------------------------------------------------------------------------------------------

check(["Webhook.verify", "Webhook.sign"], async () => {
  const app = await newApplication();
  const made = await newEndpoint(app);
  const { key } = await raw("GET", `/app/${app}/endpoint/${made.uid}/secret`);
  const message = await publish(app, kind("first"), { payload: { text: "ü" } });
  const hit = await delivered(made.uid, message.id);
  await step("verifies what was received", () => assert.ok(verifies(key, hit), "does not verify"));
  await step("neither with another secret nor another body", () => {
    assert.ok(!verifies(`whsec_${"A".repeat(32)}`, hit), "another secret verifies");
    assert.ok(!verifies(key, { ...hit, body: `${hit.body} ` }), "another body verifies");
  });
  await step("signs as the server does", () => {
    const when = new Date(Number(hit.headers["webhook-timestamp"]) * 1000);
    assert.ok(hit.headers["webhook-signature"].split(" ").includes(new Webhook(key).sign(message.id, when, hit.body)));
  });
});

// --- All of it ------------------------------------------------------------------------------------------------------------------

async function runChecks() {
  for (const [calls, run] of checks) {
    for (const name of calls) {
      const beside = name.startsWith("Webhook.") || (name === "messageInRaw" && messageInRaw);
      if (!beside && !has(name)) continue;
      current = name;
      failures.set(name, []);
      await step("before it began", () => run(beside ? undefined : method(name)));
    }
  }
}

// Leaves the lists of the server as short as they were.
async function tidyUp() {
  const paths = [...applications.map((uid) => `/app/${uid}`), ...[...types].map((name) => `/event-type/${name}?expunge=true`)];
  for (const path of paths) await raw("DELETE", path).catch(() => {});
}

function lineOf(name) {
  const whys = failures.get(name) ?? [];
  if (whys.length > 0) return { call: name, ok: false, why: whys.join(" | ") };
  if (called.has(name) || !has(name)) return { call: name, ok: true };
  const reasons = Object.entries(NOT_SERVED).find(([beginning]) => name.startsWith(beginning));
  return reasons ? { call: name, skipped: reasons[1] } : { call: name, ok: false, why: "nothing calls it" };
}

try {
  await runChecks();
} finally {
  await tidyUp();
}
const lines = [...names, ...[...failures.keys()].filter((name) => !has(name))].map(lineOf);
for (const line of lines) console.log(JSON.stringify(line));
receiver.closeAllConnections();
receiver.close();
process.exitCode = lines.some((line) => line.ok === false) ? 1 : 0;
