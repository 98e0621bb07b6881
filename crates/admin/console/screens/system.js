// @ts-check
/** The installation itself, for administrators. */
import { useState } from "preact/hooks";
import { api } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { count, moment } from "../lib/text.js";
import { Ago, Badge, Button, Code, Dialog, Empty, Heading, Loaded, say } from "../lib/ui.js";

export function System() {
  const system = useLoad(() => api.get("/system"), [], 5_000);
  return html`<${Heading} title="System" /><${Loaded} of=${system}>${(/** @type {any} */ system) => html`
    <section class="card"><h2>Processes</h2><p class="sub">${system.mode === "embedded" ? "One process on one SQLite file" : "A cluster on RabbitMQ and Redis"} · version ${system.version}</p>
      <div class="table-place"><table><thead><tr><th>Roles</th><th>Host</th><th>Version</th><th>Started</th><th>Heard of</th></tr></thead>
        <tbody>${system.members.map((/** @type {any} */ one) => html`<tr key=${one.id}><td data-label="Roles">${one.roles.map((/** @type {string} */ role) => html`<${Badge} kind="plain">${role}</${Badge}> `)}</td>
          <td data-label="Host">${one.host || "–"}</td><td data-label="Version">${one.version}</td><td data-label="Started">${moment(one.startedAt)}</td><td data-label="Heard of"><${Ago} at=${one.seenAt} /></td></tr>`)}</tbody></table></div></section>
    <section class="card"><h2>Queues</h2><div class="table-place"><table><thead><tr><th>Queue</th><th class="number">Waiting</th><th class="number">Consumers</th></tr></thead>
      <tbody>${system.queues.map((/** @type {any} */ one) => html`<tr key=${one.name}><td data-label="Queue" class="mono">${one.name}</td><td data-label="Waiting" class="number">${count(one.messages)}</td><td data-label="Consumers" class="number">${one.consumers ?? "–"}</td></tr>`)}</tbody></table></div></section>`}</${Loaded}>
    <${Rejected} />`;
}

/** What intake refused. */
function Rejected() {
  const page = useLoad(() => api.get("/rejected", { limit: 50 }), [], 10_000);
  const [discarding, setDiscarding] = useState("");
  const [open, setOpen] = useState("");
  const retry = async (/** @type {string} */ id) => {
    await api.post("/rejected/retry", { ids: [id] });
    say("Tried again.");
    await page.reload();
  };
  return html`<section class="card"><h2>Rejected events</h2><${Loaded} of=${page}>${(/** @type {any} */ page) => (page.data.length ? html`<div class="table-place"><table>
    <thead><tr><th>Reason</th><th>Detail</th><th>Routing key</th><th>When</th><th></th></tr></thead>
    <tbody>${page.data.map((/** @type {any} */ one) => html`<tr key=${one.id}><td data-label="Reason"><${Badge} kind="bad">${one.reason}</${Badge}></td><td data-label="Detail">${one.detail}</td>
      <td data-label="Routing key" class="mono">${one.routingKey ?? "–"}</td><td data-label="When">${one.timestamp ? html`<${Ago} at=${one.timestamp} />` : "–"}</td>
      <td><div class="actions"><button type="button" class="quiet" aria-expanded=${open === one.id} onClick=${() => setOpen(open === one.id ? "" : one.id)}>Body</button>
        <${Button} kind="quiet" onPress=${() => retry(one.id)}>Retry</${Button}><${Button} kind="quiet" onPress=${() => setDiscarding(one.id)}>Discard…</${Button}></div></td></tr>
      ${open === one.id && html`<tr><td colspan="5"><${Code} label="Body" text=${one.body ?? one.bodyBase64 ?? ""} /></td></tr>`}`)}</tbody></table></div>`
    : html`<${Empty} title="Nothing was rejected" />`)}</${Loaded}>
    ${discarding && html`<${Dialog} title="Discard this event?" confirm="Discard" onClose=${() => setDiscarding("")}
      onConfirm=${async () => { await api.post("/rejected/discard", { ids: [discarding] }); say("Discarded."); await page.reload(); }}><p>It is gone for good.</p></${Dialog}>`}</section>`;
}
