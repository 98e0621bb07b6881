// @ts-check
/** One endpoint: how it does, what it wants, and what can be done with it. */
import { useState } from "preact/hooks";
import { api } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { go, to } from "../lib/route.js";
import { count, counted, moment, remaining, typed } from "../lib/text.js";
import { Ago, Button, Chips, Code, Dialog, Empty, Heading, Loaded, State, say } from "../lib/ui.js";
import { Result } from "./endpoint-form.js";
import { Names } from "./endpoints.js";
import { AttemptRows } from "./attempts.js";
import { snippets } from "./snippets.js";

/** @param {{ app: string, id: string }} props */
export function Endpoint({ app, id }) {
  const path = api.app(app, "endpoint", id);
  const endpoint = useLoad(() => api.get(path), [path], 5_000);
  return html`<${Loaded} of=${endpoint}>${(/** @type {any} */ data) => html`<${Detail} app=${app} endpoint=${data} reload=${endpoint.reload} />`}</${Loaded}>`;
}

/** @param {{ app: string, endpoint: any, reload: () => Promise<void> }} props */
function Detail({ app, endpoint, reload }) {
  const path = api.app(app, "endpoint", endpoint.id);
  const [result, setResult] = useState(/** @type {any} */ (null));
  const [deleting, setDeleting] = useState(false);
  const change = async (/** @type {any} */ fields, /** @type {string} */ done) => {
    await api.patch(path, fields);
    await reload();
    say(done);
  };
  const isOff = endpoint.disabled;
  return html`
    <${Heading} title=${endpoint.name || endpoint.url} back=${to(["app", app, "endpoints"])} aside=${html`<${State} endpoint=${endpoint} />`}>
      <${Button} onPress=${async () => setResult(await api.post(`${path}/test`))}>Send test</${Button}>
      <a class="button" href=${to(["app", app, "endpoints", endpoint.id, "edit"])}>Edit</a>
      <${Button} onPress=${() => change({ disabled: !isOff }, isOff ? "Endpoint activated." : "Endpoint deactivated.")}>${isOff ? "Activate" : "Deactivate"}</${Button}>
      <${Button} kind="danger" onPress=${() => setDeleting(true)}>Delete</${Button}>
    </${Heading}>
    ${result && html`<${Result} result=${result} />`}
    ${deleting && html`<${Dialog} title="Delete this endpoint?" confirm="Delete" onClose=${() => setDeleting(false)}
      onConfirm=${async () => { await api.delete(path); say("Endpoint deleted."); go(to(["app", app, "endpoints"])); }}>
      <p>What is on its way to it is discarded. This cannot be taken back; deactivating it can.</p></${Dialog}>`}
    <div class="grid">
      <${Facts} endpoint=${endpoint} />
      <${Channels} endpoint=${endpoint} onSave=${(/** @type {string[]} */ channels) => change({ channels: channels.length ? channels : null }, "Channels saved.")} />
      <${Health} app=${app} endpoint=${endpoint} />
      <${Secret} path=${path} endpoint=${endpoint} reload=${reload} />
      <${Again} app=${app} path=${path} endpoint=${endpoint} />
    </div>
    <${Attempts} app=${app} endpoint=${endpoint} />`;
}

/** @param {{ endpoint: any }} props */
function Facts({ endpoint }) {
  /** @type {[string, any][]} */
  const rows = [
    ["URL", html`<span class="url">${endpoint.url}</span>`],
    ["Event types", html`<${Names} names=${endpoint.eventTypes} none="All" />`],
    ["Breaker", { closed: "Closed: deliveries go out", open: "Open: it does not answer, and is left alone for now", half_open: "Half open: some are tried" }[/** @type {"closed"} */ (endpoint.breaker)]],
    ["Body", endpoint.bodyFormat ?? "As the installation has it"],
    ["API key", endpoint.apiKey ? html`<span class="mono">${endpoint.apiKey.header}: ${endpoint.apiKey.value}</span>` : "None"],
    ["At most", endpoint.throttleRate ? `${count(endpoint.throttleRate)} per second` : "No limit"],
    ["Retries after", (endpoint.retrySchedule ?? []).map((/** @type {number} */ s) => `${s} s`).join(", ") || "As the installation has it"],
    ["Created", moment(endpoint.createdAt)],
    ["Id", html`<span class="mono">${endpoint.id}</span>`],
  ];
  return html`<section class="card"><h2>Endpoint</h2>
    ${endpoint.description && html`<p>${endpoint.description}</p>`}
    <dl>${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>`;
}

/** @param {{ endpoint: any, onSave: (channels: string[]) => Promise<any> }} props */
function Channels({ endpoint, onSave }) {
  const [channels, setChannels] = useState(/** @type {string[]} */ (endpoint.channels ?? []));
  const isChanged = channels.join() !== (endpoint.channels ?? []).join();
  return html`<section class="card"><h2>Channels</h2>
    <${Chips} label="Receives only events on" values=${channels} onChange=${setChannels} placeholder="client_123"
      hint="Without any, it receives everything." />
    <${Button} disabled=${!isChanged} onPress=${() => onSave(channels)}>Save channels</${Button}>
  </section>`;
}

/** @param {{ app: string, endpoint: any }} props */
function Health({ app, endpoint }) {
  const since = useState(() => new Date(Date.now() - 24 * 3_600_000).toISOString())[0];
  const stats = useLoad(() => Promise.all([
    api.get(api.app(app, "endpoint", endpoint.id, "stats"), { since }),
    api.get(api.app(app, "endpoint", endpoint.id, "stats", "hourly"), { since }),
    api.get(api.app(app, "endpoint", endpoint.id, "health")),
  ]), [endpoint.id], 15_000);
  return html`<section class="card"><h2>Last 24 hours</h2><${Loaded} of=${stats}>${(/** @type {any[]} */ [total, hours, health]) => {
    const times = hours.data.map((/** @type {any} */ hour) => Date.parse(hour.start) / 1000);
    const of = (/** @type {string} */ name) => hours.data.map((/** @type {any} */ hour) => hour[name]);
    return html`<p class="figures"><${Figure} value=${total.success} name="delivered" /><${Figure} value=${total.sending + total.pending} name="waiting" /><${Figure} value=${total.fail} name="failed" /></p>
      <${Shares} health=${health} />
      <${Chart} label="Deliveries per hour" times=${times} series=${[{ label: "Delivered", colour: "--good", values: of("success") }, { label: "Failed", colour: "--bad", values: of("fail") }]} />`;
  }}</${Loaded}></section>`;
}

/** What share of the last attempts failed, what share got no answer, and what follows. @param {{ health: any }} props */
function Shares({ health }) {
  return html`${health.attempts > 0 && html`<p>Of ${counted(health.attempts, "attempt")} within the last hour ${health.failurePercent} % failed and ${health.silencePercent} % got no answer.</p>`}
    ${health.reason && html`<p class="trouble" role="status">Left alone since <${Ago} at=${health.since} /> because it does not answer.
      ${health.nextAttemptAt ? html`Tried again at ${moment(health.nextAttemptAt)}.` : "It is being tried."}</p>`}
    ${!health.reason && health.nextAttemptAt && html`<p role="status">Its receiver asked to be left alone until ${moment(health.nextAttemptAt)}.</p>`}`;
}

/** @param {{ value: number, name: string }} props */
export const Figure = ({ value, name }) => html`<span class="figure"><b>${count(value)}</b> ${name}</span>`;

/** @param {{ path: string, endpoint: any, reload: () => Promise<void> }} props */
function Secret({ path, endpoint, reload }) {
  const [secret, setSecret] = useState("");
  const [rotating, setRotating] = useState(false);
  const rotate = async () => {
    const answer = await api.post(`${path}/secret/rotate`);
    setSecret(answer?.key ?? (await api.get(`${path}/secret`)).key);
    await reload();
    say("Secret rotated.");
  };
  return html`<section class="card"><h2>Signing secret</h2>
    ${secret ? html`<${Code} label="Secret" text=${secret} />` : html`<p class="mono">whsec_••••••••••••</p>`}
    ${endpoint.secretOverlapUntil && html`<p class="sub">The one before signs too, for ${remaining(endpoint.secretOverlapUntil)} more (until ${moment(endpoint.secretOverlapUntil)}).</p>`}
    <div class="actions">
      ${secret ? html`<button type="button" onClick=${() => setSecret("")}>Hide</button>` : html`<${Button} onPress=${async () => setSecret((await api.get(`${path}/secret`)).key)}>Reveal</${Button}>`}
      <${Button} onPress=${() => setRotating(true)}>Rotate</${Button}>
    </div>
    ${rotating && html`<${Dialog} title="Rotate the secret?" confirm="Rotate" kind="primary" onClose=${() => setRotating(false)} onConfirm=${rotate}>
      <p>Requests are signed with both secrets for 24 hours, so that receivers have time to change.</p></${Dialog}>`}
    <details><summary>Verify a signature</summary>${snippets.map(([name, text]) => html`<h3>${name}</h3><${Code} label=${name} text=${text} />`)}</details>
  </section>`;
}

/** @param {{ app: string, path: string, endpoint: any }} props */
function Again({ app, path, endpoint }) {
  const [since, setSince] = useState(() => typed(Date.now() - 3_600_000));
  const [type, setType] = useState(endpoint.eventTypes?.find((/** @type {string} */ name) => !name.endsWith("*")) ?? "");
  const begin = async (/** @type {string} */ what) => {
    const task = await api.post(`${path}/${what}`, { since: new Date(since).toISOString() });
    say(`Begun: ${counted(task.begun, "delivery", "deliveries")} so far.`);
  };
  return html`<section class="card"><h2>Send again</h2>
    <label class="field">Since<input type="datetime-local" value=${since} onInput=${(/** @type {any} */ event) => setSince(event.target.value)} /></label>
    <div class="actions"><${Button} onPress=${() => begin("recover")} title="Everything that failed since then">Recover failed</${Button}>
      <${Button} onPress=${() => begin("replay-missing")} title="Everything it would have received since then, and did not">Replay missing</${Button}></div>
    <label class="field">Event type of an example<input value=${type} spellcheck=${false} onInput=${(/** @type {any} */ event) => setType(event.target.value)} /></label>
    <div class="actions"><${Button} disabled=${!type} onPress=${async () => { await api.post(`${path}/send-example`, { eventType: type }); say("Example sent."); }}>Send example</${Button}>
      <a class="button" href=${to(["app", app, "dead-letters"], { endpoint: endpoint.id })}>Dead letters</a></div>
  </section>`;
}

/** @param {{ app: string, endpoint: any }} props */
function Attempts({ app, endpoint }) {
  const page = useLoad(() => api.get(api.app(app, "attempt", "endpoint", endpoint.id), { limit: 10 }), [endpoint.id], 5_000);
  const more = to(["app", app, "logs"], { endpoint: endpoint.id });
  return html`<section class="card"><h2>Latest attempts</h2><${Loaded} of=${page}>${(/** @type {any} */ page) => (page.data.length
    ? html`<${AttemptRows} app=${app} attempts=${page.data} /><p><a href=${more}>All attempts</a></p>`
    : html`<${Empty} title="Nothing was sent to it yet" />`)}</${Loaded}></section>`;
}
