// The first flow of an administrator, from signing in to a dead letter that is delivered after all: modules, address and token.
import assert from "node:assert/strict";
import { browser, client, receiver, until } from "./stage.mjs";

const [, , modules, base, token] = process.argv;
const api = client(base, token);
const mine = await receiver();
const { page, accessible, close } = await browser(modules, base);
const publish = (id, type = "user.created", more = {}) => api("POST", "/app/default/msg", { eventType: type, eventId: id, payload: { id, nested: { ok: true } }, ...more });
const heading = (name) => page.getByRole("heading", { name, level: 1 }).waitFor();
const menu = (name) => page.getByRole("navigation", { name: "Main" }).getByRole("link", { name }).click();

// Signing in.
await page.goto("/");
await heading("Sign in");
await accessible("sign-in");
await page.getByLabel("Token").fill("not a token");
await page.keyboard.press("Enter");
await page.getByText("this token is not valid, or no longer").waitFor();
await page.getByLabel("Token").fill(token);
await page.keyboard.press("Enter");
await heading("Overview");
await accessible("overview-empty");
const cookie = (await page.context().cookies()).find((one) => one.name === "hookyard-session");
assert(cookie.httpOnly && cookie.sameSite === "Strict", "no script reads the token");

// An endpoint, tried before it is saved.
await menu("Endpoints");
await page.getByText("No endpoints yet").waitFor();
await page.getByRole("link", { name: "New endpoint" }).click();
await heading("New endpoint");
const test = page.getByRole("button", { name: "Send test" });
assert(await test.isDisabled(), "a form that is not complete cannot be tried");
await page.getByLabel("Name").fill("First");
await page.getByLabel("URL").fill(`${mine.url}/first`);
await page.getByLabel("Only these").check();
assert(await test.isDisabled());
await page.getByLabel("Another event type").fill("user.created");
await page.getByRole("button", { name: "Add", exact: true }).click();
await page.getByLabel("API key header").fill("x-api-key");
await page.getByLabel("API key", { exact: true }).fill("secret-value");
await test.click();
await page.getByRole("heading", { name: /The test arrived/ }).waitFor();
assert.equal(mine.at("/first").length, 1);
await accessible("endpoint-form");
await page.getByRole("button", { name: "Create endpoint" }).click();
await heading("First");
await page.getByText("Endpoint created.").waitFor();
assert(!(await page.content()).includes("secret-value"), "an API key is never shown again");

// A real event, seen as it happens.
await menu("Activity");
await page.getByText("Live", { exact: true }).waitFor();
await accessible("activity-empty");
await publish("evt-1");
await page.getByRole("list", { name: "Attempts" }).getByText("user.created").waitFor();
await accessible("activity");
await page.getByRole("button", { name: "Pause" }).click();
await page.getByText("Paused", { exact: true }).waitFor();

// And in the logs.
await menu("Logs");
await page.getByRole("cell", { name: "user.created" }).first().waitFor();
await page.getByRole("table").getByRole("link").first().click();
await page.getByRole("complementary", { name: "Message" }).getByText('"evt-1"').waitFor();
await accessible("logs");

// The receiver breaks: retries, then a dead letter.
mine.status = 500;
await publish("evt-2");
await page.goto("/console/app/default/logs?status=2");
await until("three attempts fail", () => mine.got.filter((hit) => hit.body.includes("evt-2")).length === 3);
await menu("Dead letters");
await page.getByText("All attempts failed").last().waitFor();
await accessible("dead-letters");

// Mended, it is replayed and delivered.
mine.status = 200;
await page.getByRole("button", { name: "Replay all" }).click();
const dialog = page.getByRole("dialog");
await dialog.getByRole("heading", { name: "Replay 1 dead letter?" }).waitFor();
await dialog.getByRole("button", { name: "Replay" }).click();
await page.getByText("No dead letters").waitFor();
await until("it arrives after all", () => mine.got.filter((hit) => hit.body.includes("evt-2")).length === 4);

// Two channels are kept apart.
for (const one of ["a", "b"]) await api("POST", "/app/default/endpoint", { url: `${mine.url}/${one}`, name: `Channel ${one}`, channels: [`client_${one}`] });
await publish("evt-3", "order.paid", { channels: ["client_a"] });
await until("one channel has it", () => mine.at("/a").length === 1);
await publish("evt-4", "order.paid", { channels: ["client_b"] });
await until("the other has its own", () => mine.at("/b").length === 1);
assert.equal(mine.at("/a").length, 1);

// Deactivated, an endpoint gets nothing.
await menu("Endpoints");
await page.getByRole("link", { name: "First" }).click();
await heading("First");
await accessible("endpoint");
await page.getByRole("button", { name: "Deactivate" }).click();
await page.getByText("Inactive").first().waitFor();
const before = mine.at("/first").length;
await publish("evt-5");
await publish("evt-6", "order.paid", { channels: ["client_a"] });
await until("others still get theirs", () => mine.at("/a").length === 2);
assert.equal(mine.at("/first").length, before, "nothing was sent to the one that is off");

// Text stays text, wherever it comes from.
const bad = '<img src=x onerror="window.hacked=1">';
await api("PUT", "/event-type/odd.type", { description: bad, groupName: bad, sample: { text: bad }, schemas: { 1: { type: "object", properties: { [bad]: { type: "string", description: bad } } } } });
await api("POST", "/app/default/endpoint", { url: `${mine.url}/odd`, name: bad, description: bad, metadata: { note: bad } });
await publish("evt-7", "odd.type");
await until("it arrives", () => mine.at("/odd").length === 1);
for (const address of ["app/default/endpoints", "app/default/logs", "app/default/activity", "catalog", "catalog/odd.type", "app/default/endpoints/new"]) {
  await page.goto(`/console/${address}`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.waitForLoadState("load");
  await until(`it is shown at ${address}`, async () => (await page.locator("main").innerText()).length > 20);
}
await page.goto("/console/app/default/endpoints");
await page.getByRole("link", { name: bad }).click();
await page.getByText(bad).first().waitFor();
assert.equal(await page.evaluate(() => window.hacked), undefined);

// Numbers are shown as they were published, also those that JavaScript rounds.
const exact = '{"eventType": "odd.type", "eventId": "evt-8", "payload": {"exact": 90071992547409931234}}';
const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
await fetch(`${base}/api/v1/app/default/msg`, { method: "POST", headers, body: exact });
await until("it arrives", () => mine.at("/odd").length === 2);
await page.goto("/console/app/default/logs?type=odd.type");
await page.getByRole("table").getByRole("link").first().click();
await page.getByText('"exact": 90071992547409931234').waitFor();

// The other screens.
await page.goto("/console/catalog");
await page.getByRole("link", { name: "odd.type" }).click();
await heading("odd.type");
await accessible("catalog-type");
await menu("Event catalog");
await page.getByRole("link", { name: "odd.type" }).waitFor();
await accessible("catalog");
await menu("System");
await page.getByText("One process on one SQLite file").waitFor();
await accessible("system");
await menu("Overview");
await page.getByText("of attempts succeeded").waitFor();
await accessible("overview");
await menu("Endpoints");
await page.getByRole("link", { name: "Channel a" }).waitFor();
await accessible("endpoints");

// A customer's own portal: the same console, of one application alone.
const portal = await api("POST", "/auth/app-portal-access/default", {});
await page.getByRole("button", { name: "Sign out" }).click();
await heading("Sign in");
await page.goto(`/#token=${portal.token}`);
await heading("Overview");
assert(!page.url().includes("token"), "the token is not left in the address");
assert.equal(await page.getByRole("link", { name: "System" }).count(), 0);
assert.equal(await page.getByLabel("Application").count(), 0);

await close();
mine.close();
console.log("ok");
