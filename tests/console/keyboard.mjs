// The first flow by keyboard alone: modules, address and token.
import assert from "node:assert/strict";
import { browser, client, receiver, until } from "./stage.mjs";

const [, , modules, base, token] = process.argv;
const api = client(base, token);
const mine = await receiver();
const { page, close } = await browser(modules, base);
const { keyboard } = page;

/** What the focused element is called, as a screen reader would say it. */
const focused = () => page.evaluate(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return "";
  return (at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText ?? at.innerText ?? "").trim();
});

/** Goes on with Tab until something of this name has the focus. */
async function reach(name) {
  for (let steps = 0; steps < 120; steps += 1) {
    if ((await focused()) === name) return;
    await keyboard.press("Tab");
  }
  assert.fail(`${name} cannot be reached`);
}

async function press(name, key = "Enter") {
  await reach(name);
  await keyboard.press(key);
}

async function type(name, text) {
  await reach(name);
  await keyboard.type(text);
}

const heading = (name) => page.getByRole("heading", { name, level: 1 }).waitFor();

await page.goto("/");
await heading("Sign in");
await type("Token", token);
await keyboard.press("Enter");
await heading("Overview");
await press("Endpoints");
await page.getByText("No endpoints yet").waitFor();
await press("New endpoint");
await heading("New endpoint");
await type("Name", "By keyboard");
await type("URL", `${mine.url}/keys`);
await reach("All event types, also those to come");
await keyboard.press("ArrowDown");
await type("Another event type", "user.created");
await keyboard.press("Enter");
await type("Channels", "client_7");
await keyboard.press("Enter");
await press("Send test");
await page.getByRole("heading", { name: /The test arrived/ }).waitFor();
await press("Create endpoint");
await heading("By keyboard");

// An event that fails and is found, read, and replayed.
mine.status = 500;
await api("POST", "/app/default/msg", { eventType: "user.created", eventId: "evt-1", payload: { by: "keyboard" }, channels: ["client_7"] });
await until("three attempts fail", () => mine.at("/keys").length === 4);
await press("Logs");
await heading("Logs");
await page.getByRole("table").getByRole("link").first().waitFor();
const when = await page.getByRole("table").getByRole("link").first().innerText();
assert(when.includes("ago") || when.includes("now"), when);
await page.getByRole("table").getByRole("link").first().focus();
await keyboard.press("Enter");
await page.getByRole("complementary", { name: "Message" }).getByText('"keyboard"').waitFor();
await press("Dead letters");
await heading("Dead letters");
await page.getByRole("button", { name: "Preview" }).waitFor();
mine.status = 200;
await press("All of these", "Space");
await press("Replay…");
await page.getByRole("dialog").waitFor();
await press("Replay");
await page.getByText("No dead letters").waitFor();
await until("it arrives after all", () => mine.at("/keys").length === 5);

// A dialog lets go with Escape, and of nothing else.
await press("Endpoints");
await press("By keyboard");
await heading("By keyboard");
await press("Delete");
await page.getByRole("dialog").waitFor();
await keyboard.press("Escape");
await page.getByRole("dialog").waitFor({ state: "detached" });
await press("Deactivate");
await page.getByText("Inactive").first().waitFor();

await close();
mine.close();
console.log("ok");
