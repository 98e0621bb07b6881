// @ts-check
/** Around every screen: where one can go, and as whom. */
import { useEffect, useRef, useState } from "preact/hooks";
import { api, Problem, session, signOut } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { go, place, to } from "../lib/route.js";
import { switchTheme } from "../lib/theme.js";
import { Button, Empty, Heading, Loaded } from "../lib/ui.js";
import { Activity } from "./activity.js";
import { Catalog } from "./catalog.js";
import { DeadLetters } from "./dead-letters.js";
import { Endpoint } from "./endpoint.js";
import { EndpointForm } from "./endpoint-form.js";
import { Endpoints } from "./endpoints.js";
import { Logs } from "./logs.js";
import { Overview } from "./overview.js";
import { System } from "./system.js";

/** Screens of an application: the word in the address, the word people read, and whether only administrators see it. */
const OF_APP = /** @type {const} */ ([
  ["overview", "Overview"],
  ["endpoints", "Endpoints"],
  ["logs", "Logs"],
  ["activity", "Activity"],
  ["dead-letters", "Dead letters"],
]);

/** The applications to choose from: the first some hundred, and the one that is open. @param {string | null} own @param {string} [open] @returns {Promise<any[]>} */
async function applications(own, open) {
  if (own) return [await api.get(api.app(own))];
  const { data } = await api.get("/app", { limit: 250, order: "ascending" });
  if (!open || data.some((/** @type {any} */ one) => one.id === open || one.uid === open)) return data;
  try {
    return [await api.get(api.app(open)), ...data];
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 404) return data;
    throw problem;
  }
}

export function Shell() {
  const own = session.value?.scope === "app" ? session.value.app : null;
  const [first, app, screen = "overview"] = place.value.parts;
  // The catalog and the system are nobody's: there the query keeps the application one comes from.
  const named = first === "app" ? app : place.value.query.get("app") ?? undefined;
  const apps = useLoad(() => applications(own, named), [own, named]);
  const current = apps.data?.find((/** @type {any} */ one) => one.id === named || one.uid === named);
  const known = first === "app" || first === "catalog" || first === "system";
  const [open, setOpen] = useState(false);
  useEffect(() => { setOpen(false); }, [place.value]);
  // Whoever went somewhere by keyboard or screen reader begins at its beginning.
  const where = place.value.parts.join("/");
  const before = useRef(where);
  useEffect(() => {
    if (before.current !== where) document.getElementById("main")?.focus({ preventScroll: true });
    before.current = where;
  }, [where]);
  useEffect(() => {
    const home = apps.data?.find((/** @type {any} */ one) => one.uid === "default") ?? apps.data?.[0];
    if (!known && home) go(to(["app", home.uid ?? home.id, "overview"]), { replace: true });
  }, [known, apps.data]);
  const name = named ?? own ?? apps.data?.find((/** @type {any} */ one) => one.uid === "default")?.uid ?? apps.data?.[0]?.id;
  const link = (/** @type {string} */ address, /** @type {string} */ text, /** @type {boolean} */ here) =>
    html`<a href=${address} aria-current=${here ? "page" : undefined}>${text}</a>`;
  return html`<div class="shell">
    <a class="skip" href="#main">Skip to content</a>
    <header class="bar">
      <button type="button" class="quiet menu" aria-expanded=${open} aria-controls="menu" aria-label="Menu" onClick=${() => setOpen(!open)}>☰</button>
      <a class="brand" href=${to([])}><img src="/assets/icon.svg" alt="" width="24" height="24" />Hookyard</a>
      ${own ? html`<span class="app-name">${current?.name ?? ""}</span>` : html`<${Switcher} apps=${apps.data ?? []} current=${current} screen=${screen} />`}
      <span class="spring"></span>
      <button type="button" class="quiet" onClick=${switchTheme} aria-label="Light or dark">◐</button>
      <${Button} kind="quiet" onPress=${signOut}>Sign out</${Button}>
    </header>
    <nav id="menu" class="side ${open ? "open" : ""}" aria-label="Main">
      ${name && OF_APP.map(([word, text]) => link(to(["app", name, word]), text, first === "app" && screen === word))}
      ${link(to(["catalog"], { app: name }), "Event catalog", first === "catalog")}
      ${!own && link(to(["system"], { app: name }), "System", first === "system")}
    </nav>
    <main id="main" tabindex="-1">
      <${Loaded} of=${apps}>${() => html`<${Screen} first=${first} app=${first === "app" ? app : name} screen=${screen} rest=${place.value.parts.slice(3)} exists=${Boolean(current) || first !== "app"} />`}</${Loaded}>
    </main>
  </div>`;
}

/** @param {{ apps: any[], current: any, screen: string }} props */
function Switcher({ apps, current, screen }) {
  const [first, ...rest] = place.value.parts;
  const change = (/** @type {any} */ event) => go(first === "app" ? to(["app", event.target.value, screen]) : to([first, ...rest], { app: event.target.value }));
  return html`<select class="switcher" aria-label="Application" value=${current ? (current.uid ?? current.id) : ""} onChange=${change}>
    ${!current && html`<option value="" selected disabled>Application…</option>`}
    ${apps.map((app) => html`<option value=${app.uid ?? app.id} selected=${app === current}>${app.name}</option>`)}
  </select>`;
}

/** @param {{ first: string, app: string, screen: string, rest: string[], exists: boolean }} props */
function Screen({ first, app, screen, rest, exists }) {
  if (first === "catalog") return html`<${Catalog} app=${app} name=${place.value.parts[1]} />`;
  if (first === "system") return html`<${System} app=${app} />`;
  if (first !== "app") return null;
  if (!exists) return html`<${Nothing} what="There is no such application." />`;
  const [item, action] = rest;
  switch (screen) {
    case "overview": return html`<${Overview} app=${app} />`;
    case "endpoints":
      if (item === "new") return html`<${EndpointForm} app=${app} />`;
      if (item && action === "edit") return html`<${EndpointForm} app=${app} id=${item} />`;
      return item ? html`<${Endpoint} app=${app} id=${item} key=${item} />` : html`<${Endpoints} app=${app} />`;
    case "logs": return html`<${Logs} app=${app} />`;
    case "activity": return html`<${Activity} app=${app} key=${app} />`;
    case "dead-letters": return html`<${DeadLetters} app=${app} />`;
    default: return html`<${Nothing} what="There is nothing at this address." />`;
  }
}

/** @param {{ what: string }} props */
const Nothing = ({ what }) => html`<${Heading} title="Not found" /><${Empty} title=${what}><a href=${to([])}>Begin anew</a></${Empty}>`;
