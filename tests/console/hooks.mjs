// The official client's React hooks on a page of another origin: modules, address and token, then the page's origin, which the API
// lets in.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { browser, client, receiver, until } from "./stage.mjs";

const [, , modules, base, token, origin] = process.argv;
const { build } = await import(`${modules}/node_modules/esbuild/lib/main.js`);
const api = client(base, token);
const mine = await receiver();

/** The page, as whoever writes it would bundle it. */
async function bundled() {
  const entry = new URL("hooks-page.mjs", import.meta.url).pathname;
  const options = { bundle: true, format: "iife", write: false, nodePaths: [`${modules}/node_modules`] };
  const define = { "process.env.NODE_ENV": '"production"' };
  const { outputFiles } = await build({ ...options, define, entryPoints: [entry] });
  return `<!doctype html><meta charset="utf-8"><title>A page</title><body><script>${outputFiles[0].text.replaceAll("</script", "<\\/script")}</script>`;
}

// By a server, and not by the browser's driver: browsers let a page reach this machine if it came from there.
const served = await bundled();
const server = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end(served));
await new Promise((done) => { server.listen(new URL(origin).port, "127.0.0.1", done); });

await api("POST", "/event-type", { name: "order.paid", description: "An order was paid" });
const { page, close } = await browser(modules, base);
const { id: app } = await api("POST", "/app", { name: "A customer" });
const portal = await api("POST", `/auth/app-portal-access/${app}`, {});
const place = new URLSearchParams({ token: portal.token, app, serverUrl: base, receiver: `${mine.url}/hooks` });
await page.goto(`${origin}/#${place}`);
await page.getByRole("button", { name: "Add" }).click();

/** What a hook shows, as soon as it shows what is wanted of it. */
const said = async (name, wanted) => {
  const is = async () => {
    const text = await page.locator(`#${name}[data-is-said=true]`).textContent({ timeout: 15_000 });
    assert(!text.startsWith("error"), `${name}: ${text}`);
    if (wanted(JSON.parse(text))) return true;
    await page.getByRole("button", { name: "Reload" }).click();
    return false;
  };
  await until(`what ${name} says`, is, 15_000);
};
await said("useEndpoints", (data) => data.length === 1 && data[0].url === `${mine.url}/hooks`);
await said("useEndpoint", (data) => data.url === `${mine.url}/hooks`);
await said("useEndpointSecret", (data) => data.key.startsWith("whsec_"));
await said("useEndpointHeaders", (data) => Object.keys(data.headers).length === 0);
await said("useEventTypes", (data) => data.some((type) => type.name === "order.paid"));
const message = await api("POST", `/app/${app}/msg`, { eventType: "order.paid", payload: { n: 1 } });
await until("the delivery", () => mine.at("/hooks").length === 1);
await said("useMessages", (data) => data.length === 1 && data[0].id === message.id);
await said("useEndpointMessageAttempts", (data) => data.length === 1 && data[0].msgId === message.id);
await said("useAttemptedMessages", (data) => data.length === 1 && data[0].id === message.id);
await said("useEndpointStats", (data) => data.success === 1);
await said("useMessage", (data) => data.eventType === "order.paid");
await said("useMessageAttempts", (data) => data.length === 1 && data[0].responseStatusCode === 200);
await said("useMessageEndpoints", (data) => data.length === 1 && data[0].url === `${mine.url}/hooks`);
await close();
mine.close();
server.close();
console.log("ok");
