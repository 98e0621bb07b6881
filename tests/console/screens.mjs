// Every screen on what the demonstration did: modules, address, token. One part per screen, each in a browser of its own.
import assert from "node:assert/strict";
import { browser, client, receiver, until } from "./stage.mjs";

const [, , modules, base, token] = process.argv;
const api = client(base, token);
const mine = await receiver();
const APP = "demo";
const publish = (type, more = {}) => api("POST", `/app/${APP}/msg`, { eventType: type, payload: { made: "by a test" }, ...more });

/** Where a part plays: a page that is signed in, and words for what it does. */
async function stage() {
  const { page, accessible, close } = await browser(modules, base);
  const at = (address) => page.goto(`/console/${address}`);
  const heading = (name) => page.getByRole("heading", { name, level: 1 }).waitFor();
  const card = (name) => page.locator("section.card", { has: page.getByRole("heading", { name, level: 2 }) });
  await page.goto(`/#token=${token}`);
  await heading("Overview");
  return { page, accessible, close, at, heading, card };
}

const SCREENS = {
  async "sign-in"({ page, at, heading }) {
    await at(`app/${APP}/logs?status=2`);
    await heading("Logs");
    await page.getByRole("button", { name: "Sign out" }).click();
    await heading("Sign in");
    await page.getByLabel("Token").fill("x");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("this token is not valid, or no longer").waitFor();
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await heading("Logs");
    assert(page.url().endsWith(`app/${APP}/logs?status=2`), "one comes back to where one was");
    // The switcher changes the application and keeps the screen.
    await page.getByLabel("Application").selectOption("default");
    await page.waitForURL("**/app/default/logs**");
    await at("app/nobody/logs");
    await page.getByText("There is no such application.").waitFor();
  },

  async overview({ page, accessible, at, heading, card }) {
    await at(`app/${APP}/overview`);
    await page.getByText("of attempts succeeded").waitFor();
    const tile = async (name) => (await page.locator(".tile", { hasText: name }).locator("b").innerText()).replaceAll(",", "");
    const since = new Date(Date.now() - 3_600_000).toISOString();
    const { total } = await api("GET", `/stats?app=${APP}&since=${since}`);
    assert(total.events >= 20, "the demonstration published twenty events");
    assert.equal(Number(await tile("events")), total.events);
    assert.equal(Number(await tile("became dead letters")), total.deadLetters);
    assert.match(await tile("longest wait"), /ms|s|min/);
    assert.match(await card("Installation").innerText(), /router × 1/);
    // The endpoint whose receiver was gone is off.
    await card("Endpoints that need a look").getByText("demonstration: gone").waitFor();
    await accessible("overview-demo");
    await page.getByRole("button", { name: "Last 24 hours" }).click();
    await page.reload();
    assert.equal(await page.getByRole("button", { name: "Last 24 hours" }).getAttribute("aria-pressed"), "true");
    // What cannot be read is said, and read again when asked.
    await page.route("**/api/v1/stats?**", (route) => route.abort());
    await page.reload();
    await page.getByRole("alert").waitFor();
    await page.unroute("**/api/v1/stats?**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("of attempts succeeded").waitFor();
    await heading("Overview");
  },

  async endpoints({ page, accessible, at, heading, card }) {
    await at(`app/${APP}/endpoints`);
    await page.getByRole("link", { name: "demonstration: ok" }).waitFor();
    assert.equal(await page.getByRole("row").count(), 8, "a head and seven");
    const row = (name) => page.getByRole("row", { name: new RegExp(name) });
    await row("demonstration: gone").getByText("Inactive").waitFor();
    await row("demonstration: bound").getByText("client_acme").waitFor();
    await accessible("endpoints-demo");
    await page.getByLabel("Find on this page").fill("slow");
    await until("others are left out", async () => (await page.getByRole("row").count()) === 2);
    await page.reload();
    await until("the address keeps it", async () => (await page.getByRole("row").count()) === 2);
    await page.getByRole("link", { name: "demonstration: slow" }).click();
    await heading("demonstration: slow");
    await card("Latest attempts").getByText("USER_CREATED").first().waitFor();
    // A rotated secret signs on for a day, which is still said after a reload.
    await page.getByRole("button", { name: "Rotate" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
    await page.getByText("Secret rotated.").waitFor();
    await page.reload();
    await page.getByText(/The one before signs too, for (24 h|1 d) more/).waitFor();
    // Channels, in place.
    await page.getByLabel("Receives only events on").fill("client_acme,");
    await page.getByRole("button", { name: "Save channels" }).click();
    await page.getByText("Channels saved.").waitFor();
    assert.deepEqual((await api("GET", `/app/${APP}/endpoint/slow`)).channels, ["client_acme"]);
    await accessible("endpoint-demo");
    // A change is tried before it is saved, and is not saved by that.
    await page.getByRole("link", { name: "Edit" }).click();
    await heading("Edit endpoint");
    const before = (await api("GET", `/app/${APP}/endpoint/slow`)).url;
    await page.getByLabel("URL").fill(`${mine.url}/changed`);
    await page.getByRole("button", { name: "Send test" }).click();
    await page.getByRole("heading", { name: /The test arrived/ }).waitFor();
    assert.equal(mine.at("/changed").length, 1);
    assert.equal((await api("GET", `/app/${APP}/endpoint/slow`)).url, before);
    await page.getByLabel("URL").fill("http://169.254.169.254/latest");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".field.wrong .error").first().waitFor();
    await page.getByRole("link", { name: "Back" }).click();
    await heading("demonstration: slow");
    // One that is not needed any more.
    await api("POST", `/app/${APP}/endpoint`, { url: `${mine.url}/extra`, name: "Extra", uid: "extra" });
    await at(`app/${APP}/endpoints/extra`);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await heading("Endpoints");
    await page.getByText("Endpoint deleted.").waitFor();
    await at(`app/${APP}/endpoints/extra`);
    await page.getByRole("alert").waitFor();
  },

  async catalog({ page, accessible, at, heading, card }) {
    const schema = { type: "object", required: ["alert_id"], properties: { alert_id: { type: "string", description: "Which alert" }, score: { type: "integer" } } };
    await api("PUT", "/event-type/ALERT_CREATED", { description: "An alert was raised.", groupName: "Alerts", schemas: { 1: schema }, sample: { alert_id: "al-1" } });
    await page.goto(`/console/catalog?app=${APP}`);
    await page.getByRole("link", { name: "ALERT_CREATED" }).waitFor();
    await card("Alerts").getByText("1 event in 24 hours").waitFor();
    await card("Without a group").getByText("Seen in traffic").first().waitFor();
    await accessible("catalog-demo");
    await page.getByLabel("Search the catalog").fill("raised");
    await until("others are left out", async () => (await page.locator(".types li").count()) === 1);
    await page.reload();
    await page.getByRole("link", { name: "ALERT_CREATED" }).click();
    await heading("ALERT_CREATED");
    const use = card("In this application");
    await use.getByRole("link", { name: "demonstration: fails-twice" }).waitFor();
    assert.equal(await use.getByRole("link", { name: "demonstration: hangs" }).count(), 0, "it asks for other types");
    await use.getByText("all types").first().waitFor();
    await page.getByText("alert_id").first().waitFor();
    await page.getByText("integer, optional").waitFor();
    await accessible("catalog-type-demo");
    await page.getByRole("button", { name: "Make unavailable" }).click();
    await page.getByText("Currently unavailable").waitFor();
    await page.getByRole("button", { name: "Make available" }).click();
    await page.getByText("Available again.").waitFor();
    // A file is looked at before it is brought in.
    await page.getByRole("link", { name: "Back" }).click();
    const text = JSON.stringify(await api("GET", "/event-type/export")).replaceAll("ALERT_CREATED", "ALERT_CREATED_TOO");
    await page.locator("input[type=file]").setInputFiles({ name: "catalog.json", mimeType: "application/json", buffer: Buffer.from(text) });
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/1 type would be created/).waitFor();
    await dialog.getByRole("button", { name: "Import" }).click();
    await page.getByRole("link", { name: "ALERT_CREATED_TOO" }).waitFor();
    await page.locator("input[type=file]").setInputFiles({ name: "catalog.json", mimeType: "application/json", buffer: Buffer.from("{") });
    await page.locator(".notice.bad").waitFor();
  },

  async logs({ page, accessible, at, heading }) {
    await at(`app/${APP}/logs`);
    await page.getByLabel("Outcome").selectOption("Failed");
    await page.waitForURL("**status=2**");
    await page.getByLabel("Endpoint").selectOption("demonstration: fails-twice");
    await page.reload();
    await until("only failures are shown", async () => {
      const badges = await page.locator("td[data-label=Outcome]").allInnerTexts();
      return badges.length === 4 && badges.every((text) => text === "503 Server error");
    });
    // The timeline of one: 503, 503, 204.
    await page.getByRole("table").getByRole("link").first().click();
    const aside = page.getByRole("complementary", { name: "Message" });
    const timeline = aside.getByRole("list", { name: "Attempts at demonstration: fails-twice" });
    await timeline.getByText("204 Delivered").waitFor();
    assert.deepEqual((await timeline.locator(".badge").allInnerTexts()).map((text) => text.slice(0, 3)), ["503", "503", "204"]);
    await aside.getByText("Request headers").click();
    await aside.getByRole("group", { name: "Request headers" }).getByText(/webhook-signature: v1,/).waitFor();
    await accessible("logs-demo");
    const id = await aside.locator("dd").first().innerText();
    const known = (await api("GET", `/app/${APP}/attempt/msg/${id}`)).data.length;
    await aside.getByRole("button", { name: "Resend" }).click();
    await page.getByText("Sent again.").waitFor();
    await until("it is tried again", async () => (await api("GET", `/app/${APP}/attempt/msg/${id}`)).data.length > known);
    await aside.getByText(/run 2/).first().waitFor();
    // Secrets are masked.
    await api("POST", `/app/${APP}/endpoint`, { url: `${mine.url}/keyed`, name: "Keyed", uid: "keyed", eventTypes: ["keyed.kind"], apiKey: { header: "x-api-key", value: "secret-value" }, headers: { "x-tenant": "also-secret" } });
    await publish("keyed.kind");
    await until("it arrives", () => mine.at("/keyed").length === 1);
    await at(`app/${APP}/logs?type=keyed.kind`);
    await page.getByRole("row", { name: /Keyed/ }).getByRole("link").click();
    await aside.getByText("Request headers").click();
    const headers = await aside.getByRole("group", { name: "Request headers" }).innerText();
    assert(headers.includes("x-api-key: ****") && headers.includes("x-tenant: ****") && !headers.includes("secret"), headers);
    await api("DELETE", `/app/${APP}/endpoint/keyed`);
    // Pages.
    await at(`app/${APP}/logs`);
    for (let number = 0; number < 50; number += 1) await publish("page.kind");
    await page.getByRole("button", { name: "Older" }).click();
    await page.waitForURL("**iterator=**");
    await page.getByRole("button", { name: "Newest" }).click();
    await heading("Logs");
    await page.getByLabel("Event type").fill("nobody.knows");
    await page.keyboard.press("Enter");
    await page.getByText("Nothing fits these filters").waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByRole("table").waitFor();
  },

  async activity({ page, accessible, at }) {
    await at(`app/${APP}/activity`);
    await page.getByText("Live", { exact: true }).waitFor();
    const list = page.getByRole("list", { name: "Attempts" });
    await publish("USER_CREATED", { channels: ["client_acme"] });
    await list.getByText("demonstration: slow").waitFor();
    await list.getByText("demonstration: ok").waitFor();
    await accessible("activity-demo");
    await page.getByLabel("Endpoint").selectOption("demonstration: bound");
    await page.getByText("Nothing yet").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await publish("RULE_CREATED");
    await publish("TOKEN_RENEWED", { channels: ["client_acme"] });
    await list.getByText("TOKEN_RENEWED").waitFor();
    assert.equal(await list.getByRole("listitem").count(), 1, "the filter holds");
    // While it is paused nothing moves; then it is all there.
    await page.getByRole("button", { name: "Pause" }).click();
    await publish("ROLE_CREATED", { channels: ["client_acme"] });
    await page.getByText("2", { exact: true }).waitFor();
    assert.equal(await list.getByRole("listitem").count(), 1);
    await page.getByRole("button", { name: "Go on" }).click();
    await list.getByText("ROLE_CREATED").waitFor();
    // A connection that breaks is said, and made again.
    await page.route("**/api/v1/activity?**", (route) => route.abort());
    await page.getByLabel("Outcome").selectOption("Delivered");
    await page.getByText("Reconnecting…").waitFor();
    await page.unroute("**/api/v1/activity?**");
    await page.getByText("Live", { exact: true }).waitFor();
  },

  async "dead-letters"({ page, accessible, at, card }) {
    await at(`app/${APP}/dead-letters`);
    await card("demonstration: gone").getByText("Endpoint is gone (410)").waitFor();
    await card("demonstration: hangs").getByText("All attempts failed").waitFor();
    await accessible("dead-letters-demo");
    await page.getByLabel("Reason").selectOption("Endpoint is gone (410)");
    await until("others are left out", async () => (await card("demonstration: hangs").count()) === 0);
    await page.reload();
    await card("demonstration: gone").getByRole("button", { name: "Preview" }).click();
    await page.getByText("GROUP_CATEGORY_DELETED").first().waitFor();
    await page.getByText('"legacy"').waitFor();
    await page.getByLabel("Died from").fill("2099-01-01T00:00");
    await page.keyboard.press("Tab");
    await page.getByText("None fits these filters.").waitFor();
    await at(`app/${APP}/dead-letters`);
    // One is begun anew; its receiver hangs on, so it dies again.
    const hangs = card("demonstration: hangs");
    await hangs.getByRole("checkbox", { name: "All of these" }).check();
    await page.getByText("1 dead letter chosen").waitFor();
    await page.getByRole("status").getByRole("button", { name: "Replay…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Replay" }).click();
    await page.getByText("1 dead letter begun anew.").waitFor();
    await until("it is gone from the list", async () => (await hangs.count()) === 0);
    await hangs.getByText("All attempts failed").waitFor();
    // All at once, after their number was said; not without a word.
    await page.getByRole("button", { name: "Discard all…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("heading", { name: "Discard 2 dead letters?" }).waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.equal((await api("GET", `/app/${APP}/dead-letter`)).data.length, 2);
    await page.getByRole("button", { name: "Discard all…" }).click();
    await dialog.getByRole("button", { name: "Discard" }).click();
    await page.getByText("No dead letters").waitFor();
  },

  async system({ page, accessible, card }) {
    await page.goto(`/console/system?app=${APP}`);
    await page.getByText("One process on one SQLite file").waitFor();
    await card("Processes").getByText("dispatcher").waitFor();
    await card("Queues").getByRole("row").nth(1).waitFor();
    await card("Breakers").getByText("half open").waitFor();
    await card("Tasks under way").getByText("nothing is being replayed").waitFor();
    await card("Rejected events").getByText("Nothing was rejected").waitFor();
    const configuration = card("Configuration");
    await configuration.getByText(/values chosen/).click();
    await configuration.getByRole("row", { name: /delivery.timeout 15s default/ }).waitFor();
    await configuration.getByRole("row", { name: /jwt_secret \*\*\*\*/ }).waitFor();
    await accessible("system-demo");
  },
};

for (const [name, play] of Object.entries(SCREENS)) {
  const parts = await stage();
  try {
    await play(parts);
    await parts.close();
  } catch (error) {
    error.message = `${name}: ${error.message}`;
    throw error;
  }
  console.error(`${name} is as it should be`);
}
mine.close();
console.log("ok");
process.exit(0);
