// @ts-check
/** The installation itself, for administrators. */
import { useState } from "preact/hooks";
import { api } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { useNames } from "../lib/names.js";
import { filter, place, to } from "../lib/route.js";
import { count, counted, duration, moment, TASKS } from "../lib/text.js";
import { Ago, Badge, Button, Code, Dialog, Empty, Heading, Loaded, Pages, say } from "../lib/ui.js";

/** @param {{ app: string }} props */
export function System({ app }) {
  const system = useLoad(() => api.get("/system"), [], 5_000);
  return html`<${Heading} title="System" /><${Loaded} of=${system}>${(/** @type {any} */ system) => html`
      <${Processes} system=${system} />
      <div class="grid"><${Queues} queues=${system.queues} /><${Breakers} app=${app} breakers=${system.breakers} /><${Tasks} /></div>`}</${Loaded}>
    <${Rejected} /><${Configuration} />`;
}

/** @param {{ what: string }} props */
const Silent = ({ what }) => html`<p class="sub">${what} does not answer.</p>`;

/** @param {{ system: any }} props */
function Processes({ system }) {
  return html`<section class="card"><h2>Processes</h2><p class="sub">${system.mode === "embedded" ? "One process on one SQLite file" : "A cluster on RabbitMQ and Redis"} · version ${system.version}</p>
    ${system.members ? html`<div class="table-place"><table><thead><tr><th>Roles</th><th>Host</th><th>Version</th><th>Started</th><th>Heard of</th><th>Longest wait</th></tr></thead>
      <tbody>${system.members.map((/** @type {any} */ one) => html`<tr key=${one.id}><td data-label="Roles"><span class="names">${one.roles.map((/** @type {string} */ role) => html`<${Badge} kind="plain">${role}</${Badge}>`)}</span></td>
        <td data-label="Host">${one.host || "–"}</td><td data-label="Version">${one.version}</td><td data-label="Started">${moment(one.startedAt)}</td><td data-label="Heard of"><${Ago} at=${one.seenAt} /></td>
        <td data-label="Longest wait">${one.longestWaitMs === undefined ? "–" : duration(one.longestWaitMs)}</td></tr>`)}</tbody></table></div>` : html`<${Silent} what="The store" />`}</section>`;
}

/** @param {{ queues: any[] | null }} props */
function Queues({ queues }) {
  return html`<section class="card"><h2>Queues</h2>${queues ? html`<div class="table-place"><table><thead><tr><th>Queue</th><th class="number">Waiting</th><th class="number">Consumers</th></tr></thead>
    <tbody>${queues.map((one) => html`<tr key=${one.name}><td data-label="Queue" class="mono">${one.name}</td><td data-label="Waiting" class="number">${count(one.messages)}</td><td data-label="Consumers" class="number">${one.consumers ?? "–"}</td></tr>`)}</tbody></table></div>`
    : html`<${Silent} what="The broker" />`}</section>`;
}

/** @param {{ app: string, breakers: any }} props */
function Breakers({ app, breakers }) {
  const { names } = useNames(app);
  return html`<section class="card"><h2>Breakers</h2>${breakers ? html`
      <p class="figures"><span class="figure"><b>${count(breakers.open)}</b> open</span><span class="figure"><b>${count(breakers.halfOpen)}</b> half open</span></p>
      ${breakers.endpoints.length ? html`<ul class="types">${breakers.endpoints.map((/** @type {string} */ id) => html`<li key=${id}>
          ${names[id] ? html`<a href=${to(["app", app, "endpoints", id])}>${names[id]}</a>` : html`<span class="mono">${id}</span> <span class="sub">of another application</span>`}</li>`)}</ul>`
        : html`<p class="sub">Every endpoint is being delivered to.</p>`}` : html`<${Silent} what="The store" />`}</section>`;
}

function Tasks() {
  const tasks = useLoad(() => api.get("/task"), [], 2_000);
  return html`<section class="card"><h2>Tasks under way</h2><${Loaded} of=${tasks}>${(/** @type {any} */ tasks) => (tasks.data.length
    ? html`<ul class="types">${tasks.data.map((/** @type {any} */ one) => html`<li key=${one.id}>${TASKS[one.task] ?? one.task} <span class="sub">${counted(one.begun, "delivery", "deliveries")} so far · <${Ago} at=${one.updatedAt} /></span></li>`)}</ul>`
    : html`<p class="sub">None: nothing is being replayed, recovered or discarded.</p>`)}</${Loaded}></section>`;
}

/** What it was started with, what somebody chose first; secrets are not in it. */
function Configuration() {
  const configuration = useLoad(() => api.get("/system/configuration"), []);
  const isDefault = (/** @type {any} */ one) => one.origin === "default";
  // A file that is not named says nothing.
  const told = (/** @type {any[]} */ all) => [...all.filter((one) => !isDefault(one)), ...all.filter((one) => isDefault(one) && !(one.key.endsWith("_file") && !one.value))];
  return html`<section class="card"><h2>Configuration</h2><${Loaded} of=${configuration}>${(/** @type {any} */ configuration) => html`<details><summary>Of the process that answers here: ${counted(configuration.data.filter((/** @type {any} */ one) => !isDefault(one)).length, "value")} chosen, the rest as it is by default</summary><div class="table-place"><table>
    <thead><tr><th>Key</th><th>Value</th><th>From</th></tr></thead>
    <tbody>${told(configuration.data).map((/** @type {any} */ one) => html`<tr key=${one.key}><td data-label="Key" class="mono">${one.key}</td><td data-label="Value" class="mono">${one.value || html`<span class="sub">none</span>`}</td>
      <td data-label="From">${isDefault(one) ? html`<span class="sub">default</span>` : html`<span class="mono">${one.origin}</span>`}</td></tr>`)}</tbody></table></div></details>`}</${Loaded}></section>`;
}

/** What intake refused. */
function Rejected() {
  const iterator = place.value.query.get("iterator") ?? undefined;
  const page = useLoad(() => api.get("/rejected", { limit: 50, iterator }), [iterator], 10_000);
  const [discarding, setDiscarding] = useState("");
  const [open, setOpen] = useState("");
  const retry = async (/** @type {string} */ id) => {
    await api.post("/rejected/retry", { ids: [id] });
    say("Tried again.");
    await page.reload();
  };
  return html`<section class="card"><h2>Rejected events</h2><${Loaded} of=${page}>${(/** @type {any} */ page) => html`${page.data.length ? html`<div class="table-place"><table>
    <thead><tr><th>Reason</th><th>Detail</th><th>Routing key</th><th>When</th><th></th></tr></thead>
    <tbody>${page.data.map((/** @type {any} */ one) => html`<tr key=${one.id}><td data-label="Reason"><${Badge} kind="bad">${one.reason}</${Badge}></td><td data-label="Detail">${one.detail}</td>
      <td data-label="Routing key" class="mono">${one.routingKey ?? "–"}</td><td data-label="When">${one.timestamp ? html`<${Ago} at=${one.timestamp} />` : "–"}</td>
      <td><div class="actions"><button type="button" class="quiet" aria-expanded=${open === one.id} onClick=${() => setOpen(open === one.id ? "" : one.id)}>Body</button>
        <${Button} kind="quiet" onPress=${() => retry(one.id)}>Retry</${Button}><${Button} kind="quiet" onPress=${() => setDiscarding(one.id)}>Discard…</${Button}></div></td></tr>
      ${open === one.id && html`<tr><td colspan="5"><${Code} label="Body" text=${one.body ?? one.bodyBase64 ?? ""} /></td></tr>`}`)}</tbody></table></div>`
    : html`<${Empty} title="Nothing was rejected" />`}
    <${Pages} page=${page} first=${!iterator} onGo=${(/** @type {string | undefined} */ next) => filter({ iterator: next })} names=${["First", "Further"]} />`}</${Loaded}>
    ${discarding && html`<${Dialog} title="Discard this event?" confirm="Discard" onClose=${() => setDiscarding("")}
      onConfirm=${async () => { await api.post("/rejected/discard", { ids: [discarding] }); say("Discarded."); await page.reload(); }}><p>It is gone for good.</p></${Dialog}>`}</section>`;
}
