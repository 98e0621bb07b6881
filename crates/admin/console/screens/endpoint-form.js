// @ts-check
/** A new endpoint, or one that is changed; it can be tried before it is saved. */
import { useState } from "preact/hooks";
import { api, Problem } from "../lib/api.js";
import { eventTypes } from "../lib/catalog.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { go, to } from "../lib/route.js";
import { Badge, Button, Chips, Choice, Code, Field, Heading, Loaded, TextField, say } from "../lib/ui.js";
import { duration, OUTCOMES, pretty } from "../lib/text.js";
import { Picker } from "./picker.js";

/** What the form holds: text as it is typed. */
const BLANK = {
  name: "", url: "", description: "", all: true, eventTypes: /** @type {string[]} */ ([]), channels: /** @type {string[]} */ ([]),
  keyHeader: "", keyValue: "", hasKey: false, bodyFormat: "", throttleRate: "", maxInFlight: "", breakerPercent: "", timeout: "", retries: "", headers: "",
};

/** @typedef {typeof BLANK} Draft */

/** @type {[string, string][]} */
const FORMATS = [
  ["", "As the installation has it"],
  ["payload", "Payload: the data as published"],
  ["envelope", "Envelope: event_time, event_type, current_context, data"],
  ["standard", "Standard: type, timestamp, data"],
  ["cloudevents", "CloudEvents 1.0"],
];

/** @param {any} endpoint @returns {Draft} */
function draftOf(endpoint) {
  const text = (/** @type {any} */ value) => (value === null || value === undefined ? "" : String(value));
  return {
    ...BLANK,
    name: endpoint.name ?? "", url: endpoint.url, description: endpoint.description ?? "",
    all: !endpoint.eventTypes?.length, eventTypes: endpoint.eventTypes ?? [], channels: endpoint.channels ?? [],
    keyHeader: endpoint.apiKey?.header ?? "", hasKey: Boolean(endpoint.apiKey), bodyFormat: endpoint.bodyFormat ?? "",
    throttleRate: text(endpoint.throttleRate), maxInFlight: text(endpoint.maxInFlight), breakerPercent: text(endpoint.breakerPercent),
    timeout: endpoint.timeoutMs ? String(endpoint.timeoutMs / 1000) : "", retries: (endpoint.retrySchedule ?? []).join(", "),
  };
}

/** @param {string} text */
const number = (text) => (text.trim() === "" ? null : Number(text));

/** Lines of `name: value`. @param {string} text */
function headersOf(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(":");
    return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  }));
}

/** What the API is told. @param {Draft} draft @param {boolean} isNew */
function bodyOf(draft, isNew) {
  const timeout = number(draft.timeout);
  const retries = draft.retries.split(",").map((one) => one.trim()).filter(Boolean).map(Number);
  /** @type {Record<string, any>} */
  const body = {
    url: draft.url.trim(), name: draft.name.trim(), description: draft.description.trim(),
    eventTypes: draft.all ? null : draft.eventTypes, channels: draft.channels.length ? draft.channels : null,
    bodyFormat: draft.bodyFormat || null, throttleRate: number(draft.throttleRate), maxInFlight: number(draft.maxInFlight), breakerPercent: number(draft.breakerPercent),
    timeoutMs: timeout === null ? null : Math.round(timeout * 1000), retrySchedule: draft.retries.trim() ? retries : null,
  };
  // A key that is not typed again stays as it is: so the API shows it.
  const header = draft.keyHeader.trim();
  body.apiKey = header ? { header, value: draft.keyValue || "****" } : null;
  if (draft.headers.trim()) body.headers = headersOf(draft.headers);
  return isNew ? Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== "")) : body;
}

/** What is wrong with it that needs no asking. @param {Draft} draft @param {boolean} isNew @returns {Record<string, string>} */
function flaws(draft, isNew) {
  /** @type {Record<string, string>} */
  const found = {};
  try {
    const url = new URL(draft.url.trim());
    if (url.protocol !== "https:" && url.protocol !== "http:") found.url = "It begins with https:// or http://.";
  } catch {
    found.url = draft.url.trim() ? "This is not a URL." : "An endpoint needs a URL.";
  }
  if (!draft.all && !draft.eventTypes.length) found.eventTypes = "Choose at least one event type, or all.";
  for (const name of /** @type {const} */ (["throttleRate", "maxInFlight", "timeout"])) {
    const value = number(draft[name]);
    if (value !== null && !(value > 0)) found[name] = "A number above zero.";
  }
  const percent = number(draft.breakerPercent);
  if (percent !== null && percent !== 0 && !(percent >= 75 && percent <= 100)) found.breakerPercent = "75 to 100, or 0 for never.";
  if (draft.retries.split(",").some((one) => one.trim() && !(Number(one) > 0))) found.retries = "Seconds, with commas between them.";
  if (draft.keyHeader.trim() && !draft.keyValue && !draft.hasKey) found.keyValue = "A header needs a value.";
  if (draft.keyValue && !draft.keyHeader.trim()) found.keyHeader = "A value needs a header.";
  return found;
}

/** @param {{ app: string, id?: string }} props */
export function EndpointForm({ app, id }) {
  const given = useLoad(async () => {
    const [types, endpoint] = await Promise.all([eventTypes({ withContent: true }), id ? api.get(api.app(app, "endpoint", id)) : null]);
    return { types, draft: endpoint ? draftOf(endpoint) : BLANK };
  }, [app, id]);
  const back = id ? to(["app", app, "endpoints", id]) : to(["app", app, "endpoints"]);
  return html`<${Heading} title=${id ? "Edit endpoint" : "New endpoint"} back=${back} />
    <${Loaded} of=${given}>${(/** @type {any} */ given) => html`<${Form} app=${app} id=${id} types=${given.types} begin=${given.draft} back=${back} />`}</${Loaded}>`;
}

/** @param {{ app: string, id?: string, types: any[], begin: Draft, back: string }} props */
function Form({ app, id, types, begin, back }) {
  const [draft, setDraft] = useState(begin);
  const [refused, setRefused] = useState(/** @type {Record<string, string>} */ ({}));
  const [touched, setTouched] = useState(false);
  const [result, setResult] = useState(/** @type {any} */ (null));
  const isNew = !id;
  const found = flaws(draft, isNew);
  const valid = !Object.keys(found).length;
  const shown = { ...(touched ? found : {}), ...refused };
  const set = (/** @type {Partial<Draft>} */ change) => {
    setDraft({ ...draft, ...change });
    setTouched(true);
    setRefused({});
  };
  const field = (/** @type {keyof Draft} */ name) => ({ value: String(draft[name]), onInput: (/** @type {string} */ value) => set({ [name]: value }), error: shown[name] });
  const send = async (/** @type {() => Promise<any>} */ ask) => {
    try {
      return await ask();
    } catch (problem) {
      if (problem instanceof Problem && Object.keys(problem.fields).length) {
        const { timeoutMs, retrySchedule, "apiKey.value": key, ...rest } = problem.fields;
        setRefused({ ...rest, timeout: timeoutMs, retries: retrySchedule, keyValue: key });
      }
      throw problem;
    }
  };
  const sample = draft.all ? types.find((type) => type.sample) : types.find((type) => draft.eventTypes.includes(type.name));
  const test = async () => {
    const body = { ...bodyOf(draft, isNew), ...(sample ? { testEventType: sample.name } : {}) };
    const path = isNew ? api.app(app, "endpoint", "test") : api.app(app, "endpoint", id, "test");
    setResult(await send(() => api.post(path, body)));
  };
  const save = async () => {
    setTouched(true);
    if (!valid) throw new Error("Something is missing above.");
    const path = isNew ? api.app(app, "endpoint") : api.app(app, "endpoint", id);
    const saved = await send(() => (isNew ? api.post(path, bodyOf(draft, true)) : api.patch(path, bodyOf(draft, false))));
    say(isNew ? "Endpoint created." : "Endpoint saved.");
    go(to(["app", app, "endpoints", saved.id]));
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    save().catch((error) => say(error.message, "bad"));
  };
  return html`<form class="form" onSubmit=${submit} novalidate>
    <section class="card"><h2>Where to</h2>
      <${TextField} label="Name" ...${field("name")} hint="What people call it here." />
      <${TextField} label="URL" type="url" placeholder="https://example.com/webhooks" required ...${field("url")} />
      <${Field} label="Notification type">${(/** @type {string} */ name) => html`<select id=${name}><option>REST (HTTP POST)</option></select>`}</${Field}>
      <${TextField} label="Description" ...${field("description")} />
    </section>
    <section class="card"><h2>What</h2>
      <${Picker} types=${types} chosen=${draft.eventTypes} all=${draft.all} error=${shown.eventTypes}
        onChange=${(/** @type {string[]} */ chosen, /** @type {boolean} */ all) => set({ eventTypes: chosen, all })} />
      <${Chips} label="Channels" values=${draft.channels} onChange=${(/** @type {string[]} */ channels) => set({ channels })} placeholder="client_123, agent_45" error=${shown.channels}
        hint="With channels, such as client_… or agent_…, it receives only events that carry one of them. Without any, it receives everything." />
      <${Choice} label="Body" options=${FORMATS} ...${field("bodyFormat")} />
      <${Preview} format=${draft.bodyFormat} type=${sample} />
    </section>
    <section class="card"><h2>How</h2>
      <div class="columns">
        <${TextField} label="API key header" placeholder="x-api-key" spellcheck=${false} ...${field("keyHeader")} />
        <${TextField} label="API key" type="password" placeholder=${isNew ? "" : "unchanged"} hint="Sent with every request, and never shown again." ...${field("keyValue")} />
        <${TextField} label="At most per second" type="number" placeholder="no limit" ...${field("throttleRate")} />
        <${TextField} label="Requests at once" type="number" placeholder="no limit of its own" ...${field("maxInFlight")} />
        <${TextField} label="Left alone from, in %" type="number" placeholder="95" hint="Of attempts without any answer. 0 for never." ...${field("breakerPercent")} />
        <${TextField} label="Timeout, in seconds" type="number" placeholder="15" ...${field("timeout")} />
        <${TextField} label="Retries after, in seconds" placeholder="30, 600" hint="One number for each attempt after the first." ...${field("retries")} />
      </div>
      <${Field} label="Further headers" error=${shown.headers} hint=${isNew ? "One per line, name: value." : "One per line, name: value. What is typed here replaces all that were set; nothing typed leaves them."}>
        ${(/** @type {string} */ name, /** @type {string} */ described) => html`<textarea id=${name} aria-describedby=${described} rows="3" spellcheck=${false} value=${draft.headers}
          onInput=${(/** @type {any} */ event) => set({ headers: event.target.value })}></textarea>`}</${Field}>
    </section>
    ${result && html`<${Result} result=${result} />`}
    <div class="actions sticky">
      <a class="button" href=${back}>Cancel</a>
      <${Button} disabled=${!valid} onPress=${test} title=${valid ? "" : "Once the form is complete"}>Send test</${Button}>
      <button type="submit" class="primary">${isNew ? "Create endpoint" : "Save"}</button>
    </div>
  </form>`;
}

/** What a receiver would get of a sample. @param {{ format: string, type: any }} props */
function Preview({ format, type }) {
  const data = type?.sample ?? { id: 1 };
  const [name, at] = [type?.name ?? "user.created", "2026-01-01T12:00:00Z"];
  const bodies = /** @type {Record<string, any>} */ ({
    envelope: { event_time: at, event_type: name, current_context: {}, data },
    standard: { type: name, timestamp: at, data },
    cloudevents: { specversion: "1.0", id: "msg_…", source: "hookyard", type: name, time: at, datacontenttype: "application/json", data },
  });
  return html`<${Code} label="Example of a body" text=${JSON.stringify(bodies[format] ?? data, null, 2)} />`;
}

/** What came of a test. @param {{ result: any }} props */
export function Result({ result }) {
  const good = result.outcome === "success";
  const status = result.responseStatusCode ? `${result.responseStatusCode} · ` : "";
  return html`<section class="card result" role="status" aria-label="Result of the test">
    <h2>${good ? "The test arrived" : "The test did not arrive"} <${Badge} kind=${good ? "good" : "bad"}>${status}${OUTCOMES[result.outcome] ?? result.outcome} · ${duration(result.durationMs)}</${Badge}></h2>
    <details open=${!good}><summary>Response</summary>${result.response ? html`<${Code} label="Response" text=${pretty(result.response)} />` : html`<p class="sub">It is empty.</p>`}</details>
    <details><summary>Request</summary><${Code} label="Request" text=${`${result.requestHeaders.map((/** @type {[string, string]} */ [name, value]) => `${name}: ${value}`).join("\n")}\n\n${pretty(result.body)}`} /></details>
  </section>`;
}
