// @ts-check
/** What will not be tried again by itself. */
import { useEffect, useState } from "preact/hooks";
import { api } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { useNames } from "../lib/names.js";
import { filter, to } from "../lib/route.js";
import { counted, REASONS } from "../lib/text.js";
import { Ago, Badge, Button, Code, Dialog, Empty, Heading, Loaded, Pages, say } from "../lib/ui.js";
import { chosen, endpointOptions, Select, Text, instant } from "./filters.js";

/** @type {[string, string][]} */
const WHY = [["", "All reasons"], ...Object.entries(REASONS)];

/** @param {{ app: string }} props */
export function DeadLetters({ app }) {
  const { endpoints, names } = useNames(app);
  const iterator = chosen("iterator");
  const wanted = { endpointId: chosen("endpoint") || undefined, eventType: chosen("type") || undefined, reason: chosen("reason") || undefined, after: instant(chosen("after")), before: instant(chosen("before")) };
  const query = { limit: 50, iterator: iterator || undefined, endpoint_id: wanted.endpointId, event_type: wanted.eventType, reason: wanted.reason, after: wanted.after, before: wanted.before };
  const page = useLoad(() => api.get(api.app(app, "dead-letter"), query), [app, JSON.stringify(query)], 5_000);
  const [picked, setPicked] = useState(/** @type {string[]} */ ([]));
  const [asking, setAsking] = useState(/** @type {{ what: "replay" | "discard", body: any, count: number } | null} */ (null));
  const [task, setTask] = useState("");
  useEffect(() => { setPicked([]); }, [app, JSON.stringify(query)]);
  // What the list no longer has is not picked any more.
  const present = picked.filter((id) => page.data?.data.some((/** @type {any} */ one) => one.id === id));
  const all = async (/** @type {"replay" | "discard"} */ what) => {
    const body = { filter: wanted };
    const { count } = await api.post(api.app(app, "dead-letter", what), { ...body, dryRun: true });
    setAsking({ what, body, count });
  };
  const some = (/** @type {"replay" | "discard"} */ what, /** @type {string[]} */ ids) => setAsking({ what, body: { ids }, count: ids.length });
  const confirm = async () => {
    if (!asking) return;
    const done = await api.post(api.app(app, "dead-letter", asking.what), asking.body);
    say(`${counted(done.count, "dead letter")} ${asking.what === "replay" ? "begun anew" : "discarded"}.`);
    if (done.task) setTask(done.task);
    setPicked([]);
    await page.reload();
  };
  return html`<${Heading} title="Dead letters">
      <${Button} onPress=${() => all("replay")}>${Object.values(wanted).some(Boolean) ? "Replay all of these filters…" : "Replay all…"}</${Button}>
      <${Button} kind="danger" onPress=${() => all("discard")}>Discard all…</${Button}>
    </${Heading}>
    <div class="filters">
      <${Select} name="endpoint" label="Endpoint" options=${endpointOptions(endpoints)} />
      <${Text} name="type" label="Event type" placeholder="user.created" />
      <${Select} name="reason" label="Reason" options=${WHY} />
      <${Text} name="after" label="Died from" type="datetime-local" />
      <${Text} name="before" label="To" type="datetime-local" />
    </div>
    ${task && html`<${Progress} task=${task} onEnd=${page.reload} />`}
    ${present.length > 0 && html`<div class="picked" role="status">${counted(present.length, "dead letter")} chosen
      <${Button} kind="primary" onPress=${() => some("replay", present)}>Replay…</${Button}>
      <${Button} kind="danger" onPress=${() => some("discard", present)}>Discard…</${Button}></div>`}
    <${Loaded} of=${page}>${(/** @type {any} */ page) => html`${page.data.length
      ? groups(page.data).map((group) => html`<${Group} app=${app} ...${group} name=${names[group.endpoint] ?? group.endpoint} picked=${present} onPick=${setPicked} onReplay=${(/** @type {string} */ id) => some("replay", [id])} key=${group.endpoint + group.reason} />`)
      : html`<${Empty} title="No dead letters">${Object.values(wanted).some(Boolean) ? "None fits these filters." : "Everything was delivered, or is still being tried."}</${Empty}>`}
      <${Pages} page=${page} first=${!iterator} onGo=${(/** @type {string | undefined} */ next) => filter({ iterator: next })} />`}</${Loaded}>
    ${asking && html`<${Dialog} title=${`${asking.what === "replay" ? "Replay" : "Discard"} ${counted(asking.count, "dead letter")}?`} kind=${asking.what === "replay" ? "primary" : "danger"}
      confirm=${asking.what === "replay" ? "Replay" : "Discard"} onConfirm=${confirm} onClose=${() => setAsking(null)}>
      <p>${asking.what === "replay" ? "Each begins again with its first attempt, under the same webhook-id." : "They are gone for good. This cannot be taken back."}</p></${Dialog}>`}`;
}

/** By endpoint and reason, in the order of their newest. @param {any[]} letters */
function groups(letters) {
  /** @type {Map<string, { endpoint: string, reason: string, letters: any[] }>} */
  const found = new Map();
  for (const letter of letters) {
    const key = `${letter.endpointId} ${letter.reason}`;
    const group = found.get(key) ?? /** @type {{ endpoint: string, reason: string, letters: any[] }} */ ({ endpoint: letter.endpointId, reason: letter.reason, letters: [] });
    group.letters.push(letter);
    found.set(key, group);
  }
  return [...found.values()];
}

/** @param {{ app: string, endpoint: string, name: string, reason: string, letters: any[], picked: string[], onPick: (ids: string[]) => void, onReplay: (id: string) => void }} props */
function Group({ app, endpoint, name, reason, letters, picked, onPick, onReplay }) {
  const [preview, setPreview] = useState(/** @type {any} */ (null));
  const ids = letters.map((letter) => letter.id);
  const isWhole = ids.every((id) => picked.includes(id));
  const toggle = (/** @type {string[]} */ some, /** @type {boolean} */ on) => onPick(on ? [...new Set([...picked, ...some])] : picked.filter((id) => !some.includes(id)));
  const show = async (/** @type {any} */ letter) => {
    setPreview(preview?.id === letter.id ? null : { id: letter.id, message: await api.get(api.app(app, "msg", letter.msgId)) });
  };
  return html`<section class="card"><h2><a href=${to(["app", app, "endpoints", endpoint])}>${name}</a> <${Badge} kind="bad">${REASONS[reason] ?? reason}</${Badge}></h2>
    <div class="table-place"><table><thead><tr>
      <th><input type="checkbox" aria-label="All of these" checked=${isWhole} onChange=${(/** @type {any} */ event) => toggle(ids, event.target.checked)} /></th>
      <th>Died</th><th>Event type</th><th>Attempts</th><th>Status</th><th></th></tr></thead>
      <tbody>${letters.map((letter) => html`<tr key=${letter.id}>
        <td><input type="checkbox" aria-label=${`Choose ${letter.msgId}`} checked=${picked.includes(letter.id)} onChange=${(/** @type {any} */ event) => toggle([letter.id], event.target.checked)} /></td>
        <td data-label="Died"><${Ago} at=${letter.timestamp} /></td>
        <td data-label="Event type" class="mono">${letter.eventType}</td>
        <td data-label="Attempts">${letter.attempts}</td>
        <td data-label="Status">${letter.responseStatusCode ?? "–"}</td>
        <td><div class="actions"><${Button} kind="quiet" onPress=${() => show(letter)}>Preview</${Button}>
          <a class="button quiet" href=${to(["app", app, "logs"], { message: letter.msgId })}>Log</a>
          <${Button} kind="quiet" onPress=${() => onReplay(letter.id)}>Replay…</${Button}></div></td>
      </tr>${preview?.id === letter.id && html`<tr><td colspan="6"><${Code} label="Payload" text=${JSON.stringify(preview.message.payload, null, 2)} /></td></tr>`}`)}</tbody></table></div>
  </section>`;
}

/** A task, until it ends. @param {{ task: string, onEnd: () => any }} props */
function Progress({ task, onEnd }) {
  const [ended, setEnded] = useState(false);
  const state = useLoad(() => api.get(`/task/${encodeURIComponent(task)}`), [task], ended ? undefined : 1_000);
  const status = state.data?.status;
  useEffect(() => {
    if (status && status !== "running" && !ended) {
      setEnded(true);
      onEnd();
    }
  }, [status]);
  return html`<p class="card" role="status">${state.data ? `${{ running: "Under way", finished: "Done", failed: "Stopped by a fault" }[/** @type {"running"} */ (status)] ?? status}: ${counted(state.data.begun, "dead letter")}` : "Beginning…"}</p>`;
}
