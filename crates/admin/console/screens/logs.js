// @ts-check
/** Every attempt, filtered; one of them in full. */
import { api } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { useNames } from "../lib/names.js";
import { filter, to } from "../lib/route.js";
import { duration, moment, OUTCOMES, pretty, REASONS } from "../lib/text.js";
import { Button, Code, Copy, Empty, Heading, Loaded, Pages, say } from "../lib/ui.js";
import { AttemptRows, Outcome } from "./attempts.js";
import { chosen, endpointOptions, Select, Text, instant } from "./filters.js";

const FILTERS = ["endpoint", "type", "channel", "status", "class", "after", "before", "iterator"];

/** @param {{ app: string }} props */
export function Logs({ app }) {
  const { endpoints, names } = useNames(app);
  const [message, attempt, iterator] = [chosen("message"), chosen("attempt"), chosen("iterator")];
  const query = {
    limit: 50, iterator: iterator || undefined, endpoint_id: chosen("endpoint"), event_types: chosen("type"), channel: chosen("channel"),
    status: chosen("status"), status_code_class: chosen("class"), after: instant(chosen("after")), before: instant(chosen("before")),
  };
  const page = useLoad(() => api.get(api.app(app, "attempt"), query), [app, JSON.stringify(query)], iterator ? undefined : 5_000);
  const here = Object.fromEntries(FILTERS.map((name) => [name, chosen(name)]));
  const isFiltered = FILTERS.some((name) => name !== "iterator" && chosen(name));
  return html`<${Heading} title="Logs" />
    <form class="filters" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <${Select} name="endpoint" label="Endpoint" options=${endpointOptions(endpoints)} />
      <${Text} name="type" label="Event type" placeholder="user.created" />
      <${Text} name="channel" label="Channel" placeholder="client_123" />
      <${Select} name="status" label="Outcome" options=${[["", "All"], ["0", "Delivered"], ["2", "Failed"]]} />
      <${Select} name="class" label="Status" options=${[["", "All"], ["200", "2xx"], ["300", "3xx"], ["400", "4xx"], ["500", "5xx"]]} />
      <${Text} name="after" label="From" type="datetime-local" />
      <${Text} name="before" label="To" type="datetime-local" />
      ${isFiltered && html`<button type="button" class="quiet" onClick=${() => filter(Object.fromEntries(FILTERS.map((name) => [name, undefined])))}>Clear</button>`}
    </form>
    <div class=${message ? "beside" : ""}>
      <section><${Loaded} of=${page}>${(/** @type {any} */ page) => html`
        ${page.data.length ? html`<${AttemptRows} app=${app} attempts=${page.data} names=${names} chosen=${attempt} here=${here} />`
          : html`<${Empty} title=${isFiltered ? "Nothing fits these filters" : "Nothing was sent yet"} />`}
        <${Pages} page=${page} first=${!iterator} onGo=${(/** @type {string | undefined} */ next) => filter({ iterator: next })} />`}</${Loaded}></section>
      ${message && html`<${Message} app=${app} id=${message} attempt=${attempt} names=${names} key=${message} />`}
    </div>`;
}

/** One message: what it holds and every attempt to deliver it. @param {{ app: string, id: string, attempt: string, names: Record<string, string> }} props */
function Message({ app, id, attempt, names }) {
  const all = useLoad(() => Promise.all([
    api.get(api.app(app, "msg", id)),
    api.get(api.app(app, "attempt", "msg", id), { limit: 50 }),
  ]), [app, id], 4_000);
  return html`<aside class="card detail" aria-label="Message"><div class="heading-title"><h2>Message</h2><span class="spring"></span>
      <button type="button" class="quiet" aria-label="Close" onClick=${() => filter({ message: undefined, attempt: undefined })}>×</button></div>
    <${Loaded} of=${all}>${(/** @type {any[]} */ [message, attempts]) => {
      const open = attempts.data.find((/** @type {any} */ one) => one.id === attempt) ?? attempts.data[0];
      return html`<dl><dt>Id</dt><dd class="mono">${message.id}</dd><dt>Event type</dt><dd class="mono">${message.eventType}</dd>
          <dt>Accepted</dt><dd>${moment(message.timestamp)}</dd>${message.channels?.length ? html`<dt>Channels</dt><dd>${message.channels.join(", ")}</dd>` : null}</dl>
        ${byEndpoint(attempts.data, open).map(([endpoint, of]) => html`<h3>Attempts at ${names[endpoint] ?? of[0].url}</h3>
          <ol class="timeline" aria-label=${`Attempts at ${names[endpoint] ?? of[0].url}`}>${of.map((one) => html`<li key=${one.id} class=${one === open ? "chosen" : ""}>
            <button type="button" class="quiet" aria-pressed=${one === open} onClick=${() => filter({ attempt: one.id })}>${one.attempt}${one.run > 0 ? ` · run ${one.run + 1}` : ""}</button>
            <${Outcome} attempt=${one} /><span class="sub">${moment(one.timestamp)}</span></li>`)}</ol>`)}
        ${open && html`<${Attempt} app=${app} message=${message} attempt=${open} reload=${all.reload} />`}`;
    }}</${Loaded}></aside>`;
}

/** Attempts, the oldest first, of the endpoint one looks at and then of the others. @param {any[]} attempts @param {any} open @returns {[string, any[]][]} */
function byEndpoint(attempts, open) {
  /** @type {Map<string, any[]>} */
  const found = new Map(open ? [[open.endpointId, []]] : []);
  for (const one of [...attempts].reverse()) found.set(one.endpointId, [...(found.get(one.endpointId) ?? []), one]);
  return [...found];
}

/** @param {{ app: string, message: any, attempt: any, reload: () => Promise<void> }} props */
function Attempt({ app, message, attempt, reload }) {
  const body = JSON.stringify(message.payload);
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", "'\\''")}'`;
  const curl = `curl -i ${quoted(attempt.url)} -H 'content-type: application/json' -H ${quoted(`webhook-id: ${message.id}`)} --data-raw ${quoted(body)}`;
  const resend = async () => {
    await api.post(api.app(app, "msg", message.id, "endpoint", attempt.endpointId, "resend"));
    say("Sent again.");
    await reload();
  };
  return html`<div class="attempt">
    <p>${OUTCOMES[attempt.outcome] ?? attempt.outcome}${attempt.deadReason ? html` · dead letter: ${REASONS[attempt.deadReason] ?? attempt.deadReason}` : null} · ${duration(attempt.responseDurationMs)} · <span class="url">${attempt.url}</span></p>
    ${attempt.nextAttemptAt && html`<p class="sub">Next attempt ${moment(attempt.nextAttemptAt)}</p>`}
    <div class="actions"><${Button} onPress=${resend}>Resend</${Button}><${Copy} text=${curl}>Copy as curl</${Copy}>
      <a class="button" href=${to(["app", app, "endpoints", attempt.endpointId])}>Endpoint</a></div>
    ${attempt.requestHeaders?.length ? html`<details><summary>Request headers</summary><${Code} label="Request headers" text=${attempt.requestHeaders.map((/** @type {[string, string]} */ [name, value]) => `${name}: ${value}`).join("\n")} /></details>` : null}
    <h3>Payload</h3><${Code} label="Payload" text=${JSON.stringify(message.payload, null, 2)} />
    <h3>Response ${attempt.responseStatusCode ? html`<span class="sub">${attempt.responseStatusCode}</span>` : null}</h3>
    ${attempt.response ? html`<${Code} label="Response" text=${pretty(attempt.response)} />` : html`<p class="sub">It is empty.</p>`}
  </div>`;
}
