// What every play of the console stands on: a browser that tells of everything that must not happen, a receiver, and publishers.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

/** A receiver on loopback: what it got per path, and what it answers. */
export async function receiver() {
  const got = [];
  const self = { status: 200, got, at: (path) => got.filter((hit) => hit.path === path), url: "", close: () => { server.close(); server.closeAllConnections(); } };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => { body += part; });
    request.on("end", () => {
      got.push({ path: request.url, id: request.headers["webhook-id"], body });
      response.writeHead(self.status, { "content-type": "application/json" }).end('{"received": true}');
    });
  });
  await new Promise((done) => { server.listen(0, "127.0.0.1", done); });
  self.url = `http://127.0.0.1:${server.address().port}`;
  return self;
}

/** The API, as scripts use it. */
export function client(base, token) {
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const response = await fetch(`${base}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  };
}

/** Waits until something is so. */
export async function until(what, is, patienceMs = 30_000) {
  const end = Date.now() + patienceMs;
  while (!(await is())) {
    assert(Date.now() < end, `it never happened: ${what}`);
    await new Promise((later) => { setTimeout(later, 50); });
  }
}

/** A browser with one page, and what went wrong in it. */
export async function browser(modules, base) {
  const { chromium } = await import(`${modules}/node_modules/playwright-core/index.mjs`);
  const executablePath = BROWSERS.find((path) => existsSync(path));
  assert(executablePath, "there is no Chromium: apt-get install chromium");
  const running = await chromium.launch({ executablePath, args: FLAGS });
  const context = await running.newContext({ viewport: { width: 1440, height: 900 }, baseURL: base });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: base });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const wrong = [];
  page.on("console", (message) => {
    // The browser's own word on an answer that is no success; what is made of it is looked at on the page.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack ?? error.message}`));
  page.on("request", (request) => {
    if (!["127.0.0.1", "localhost"].includes(new URL(request.url()).hostname)) wrong.push(`request: ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const axe = readFileSync(`${modules}/node_modules/axe-core/axe.min.js`, "utf8");
  /** Nothing on the page that keeps people out, in either theme. */
  const accessible = async (screen) => {
    await page.evaluate(axe);
    for (const theme of ["light", "dark"]) {
      await page.evaluate((theme) => { document.documentElement.dataset.theme = theme; }, theme);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter((one) => ["serious", "critical"].includes(one.impact));
      const said = serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
      assert.equal(said.join("\n"), "", `${screen}, ${theme}`);
    }
    await page.evaluate(() => { delete document.documentElement.dataset.theme; });
    await shot(screen);
  };
  const shots = process.env.HOOKYARD_TEST_SCREENSHOTS;
  /** The screen fits both widths; pictures of it in both themes, where somebody wants them. */
  const shot = async (screen) => {
    if (shots) mkdirSync(shots, { recursive: true });
    for (const width of [1440, 375]) {
      await page.setViewportSize({ width, height: 900 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(wide <= width, `${screen} is ${wide} wide at ${width}`);
      for (const colorScheme of shots ? ["light", "dark"] : []) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${shots}/${screen}-${width}-${colorScheme}.png`, fullPage: true });
      }
    }
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });
  };
  const close = async () => {
    await running.close();
    assert.deepEqual(wrong, []);
  };
  return { page, accessible, close };
}
