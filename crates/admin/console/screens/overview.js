// @ts-check
/** How an application does. */
import { api, session } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { endpointsOf } from "../lib/names.js";
import { filter, place, to } from "../lib/route.js";
import { count, duration, OUTCOMES } from "../lib/text.js";
import { Badge, Empty, Heading, Loaded, State } from "../lib/ui.js";

/** @type {Record<string, [string, number, number]>} */
const RANGES = { "1h": ["Last hour", 3_600, 60], "24h": ["Last 24 hours", 86_400, 900], "7d": ["Last 7 days", 604_800, 21_600] };

/** @param {{ app: string }} props */
export function Overview({ app }) {
  const range = place.value.query.get("range") ?? "1h";
  const [, seconds, bucket] = RANGES[range] ?? RANGES["1h"];
  const all = useLoad(() => Promise.all([
    api.get("/stats", { app, since: new Date(Date.now() - seconds * 1000).toISOString(), bucket }),
    endpointsOf(app),
    api.get(api.app(app, "dead-letter"), { limit: 1 }),
    session.value?.scope === "admin" ? api.get("/system") : null,
  ]), [app, range], 5_000);
  return html`<${Heading} title="Overview"><div class="choices" role="group" aria-label="Range">${Object.entries(RANGES).map(([of, [text]]) => html`
      <button type="button" aria-pressed=${of === range} onClick=${() => filter({ range: of })}>${text}</button>`)}</div></${Heading}>
    <${Loaded} of=${all}>${(/** @type {any[]} */ [stats, endpoints, dead, system]) => html`<${Figures} stats=${stats} seconds=${seconds} system=${system} />
      <div class="grid"><${Attempts} stats=${stats} /><${Latency} stats=${stats} />
      <${Unhealthy} app=${app} endpoints=${endpoints} hasDead=${dead.data.length > 0} />${system && html`<${Installation} system=${system} />`}</div>`}</${Loaded}>`;
}

/** @param {{ stats: any, seconds: number, system: any }} props */
function Figures({ stats, seconds, system }) {
  const { events, deadLetters, attempts, p50Ms, p95Ms } = stats.total;
  const made = /** @type {number} */ (Object.values(attempts).reduce((sum, of) => sum + of, 0));
  const delivered = attempts.success ?? 0;
  const per = (/** @type {number} */ of) => (of / seconds).toFixed(of / seconds < 10 ? 2 : 0);
  const tile = (/** @type {string} */ value, /** @type {string} */ name, /** @type {string} */ more) => html`<div class="tile"><b>${value}</b><span>${name}</span><span class="sub">${more}</span></div>`;
  return html`<div class="tiles">
    ${tile(count(events), "events", `${per(events)} per second`)}
    ${tile(count(delivered), "delivered", `${per(delivered)} per second`)}
    ${tile(made ? `${((delivered / made) * 100).toFixed(delivered === made ? 0 : 1)} %` : "–", "of attempts succeeded", `${count(made)} attempts`)}
    ${tile(p50Ms === null ? "–" : duration(p50Ms), "median answer", p95Ms === null ? "" : `95 of 100 within ${duration(p95Ms)}`)}
    ${tile(count(deadLetters), "became dead letters", "in this range")}
    ${system && tile(longestWait(system), "longest wait", "beyond the due time, lately")}
  </div>`;
}

/** Of all dispatchers. @param {any} system */
function longestWait(system) {
  const waits = (system.members ?? []).map((/** @type {any} */ one) => one.longestWaitMs).filter((/** @type {any} */ ms) => ms !== undefined);
  return waits.length ? duration(Math.max(...waits)) : "–";
}

/** The processes and queues behind it all, for administrators. @param {{ system: any }} props */
function Installation({ system }) {
  /** @type {Map<string, number>} */
  const roles = new Map();
  for (const member of system.members ?? []) for (const role of member.roles) roles.set(role, (roles.get(role) ?? 0) + 1);
  return html`<section class="card"><h2>Installation</h2>
    <p>${roles.size ? [...roles].map(([role, many]) => html`<${Badge} kind="plain">${role} × ${many}</${Badge}> `) : html`<span class="sub">The store does not answer: nobody knows which processes there are.</span>`}</p>
    ${system.queues ? html`<table class="bars"><tbody>${system.queues.map((/** @type {any} */ one) => html`<tr key=${one.name}><th scope="row" class="mono">${one.name}</th><td></td><td class="number">${count(one.messages)}</td></tr>`)}</tbody></table>`
      : html`<p class="sub">The broker does not answer: nobody knows what waits.</p>`}
    <p><a href=${to(["system"])}>System</a></p></section>`;
}

/** @param {{ stats: any }} props */
function Attempts({ stats }) {
  const times = stats.data.map((/** @type {any} */ one) => Date.parse(one.start) / 1000);
  const of = (/** @type {(outcome: string) => boolean} */ is) => stats.data.map((/** @type {any} */ one) =>
    Object.entries(one.attempts).reduce((sum, [outcome, made]) => sum + (is(outcome) ? /** @type {number} */ (made) : 0), 0));
  const failed = Object.entries(stats.total.attempts).filter(([outcome]) => outcome !== "success");
  return html`<section class="card"><${Chart} label="Attempts" times=${times} series=${[
      { label: "Delivered", colour: "--good", values: of((outcome) => outcome === "success") },
      { label: "Failed", colour: "--bad", values: of((outcome) => outcome !== "success") }]} />
    ${failed.length > 0 && html`<p class="sub">${failed.map(([outcome, made]) => `${OUTCOMES[outcome] ?? outcome}: ${made}`).join(" · ")}</p>`}</section>`;
}

/** @param {{ stats: any }} props */
function Latency({ stats }) {
  const shown = stats.latency.filter((/** @type {any} */ one) => one.count > 0);
  const most = Math.max(1, ...shown.map((/** @type {any} */ one) => one.count));
  return html`<section class="card"><h2>How long answers took</h2>${shown.length ? html`<table class="bars"><tbody>${shown.map((/** @type {any} */ one) => html`<tr>
      <th scope="row">${one.upToMs === null ? "longer" : `≤ ${duration(one.upToMs)}`}</th>
      <td><meter min="0" max=${most} value=${one.count} aria-label=${`${one.count} attempts`}></meter></td><td class="number">${count(one.count)}</td></tr>`)}</tbody></table>`
    : html`<${Empty} title="Nothing was sent in this range" />`}</section>`;
}

/** @param {{ app: string, endpoints: any[], hasDead: boolean }} props */
function Unhealthy({ app, endpoints, hasDead }) {
  const bad = endpoints.filter((one) => one.state !== "active").slice(0, 10);
  return html`<section class="card"><h2>Endpoints that need a look</h2>
    ${bad.length ? html`<ul class="types">${bad.map((one) => html`<li key=${one.id}><a href=${to(["app", app, "endpoints", one.id])}>${one.name || one.url}</a> <${State} endpoint=${one} /></li>`)}</ul>`
      : html`<p class="sub">${endpoints.length ? "None: all of them are active." : html`There is none yet. <a href=${to(["app", app, "endpoints", "new"])}>Create the first</a>.`}</p>`}
    ${hasDead && html`<p><a href=${to(["app", app, "dead-letters"])}>There are dead letters</a></p>`}</section>`;
}
