// @ts-check
/** The event catalog: what there is to subscribe to. */
import { useState } from "preact/hooks";
import { api, session } from "../lib/api.js";
import { asksFor, eventTypes, grouped, matches } from "../lib/catalog.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { endpointsOf } from "../lib/names.js";
import { filter, place, to } from "../lib/route.js";
import { count, counted } from "../lib/text.js";
import { Badge, Button, Code, Dialog, Empty, Heading, Loaded, State, say } from "../lib/ui.js";

const DAY_MS = 24 * 3_600_000;

/** Types are the installation's; how many events there were, and who asks for them, is said of an application. @param {{ app: string, name?: string }} props */
export function Catalog({ app, name }) {
  return name ? html`<${Type} app=${app} name=${name} key=${name} />` : html`<${List} app=${app} />`;
}

/** Events by type since then. @param {string} app @param {number} ms @returns {Promise<Record<string, number>>} */
async function volumes(app, ms) {
  const { data } = await api.get("/stats/event-type", { app, since: new Date(Date.now() - ms).toISOString() });
  return Object.fromEntries(data.map((/** @type {any} */ one) => [one.eventType, one.events]));
}

/** @param {{ app: string }} props */
function List({ app }) {
  const asked = place.value.query.get("q") ?? "";
  const types = useLoad(() => eventTypes(), []);
  const day = useLoad(() => volumes(app, DAY_MS), [app], 15_000);
  const isAdmin = session.value?.scope === "admin";
  const [file, setFile] = useState(/** @type {{ text: string, would: any } | null} */ (null));
  const choose = async (/** @type {any} */ event) => {
    const text = await event.target.files[0]?.text();
    event.target.value = "";
    if (!text) return;
    try {
      setFile({ text, would: await api.importFile("/event-type/import", { dry_run: true }, text) });
    } catch (error) {
      say(/** @type {Error} */ (error).message, "bad");
    }
  };
  const bring = async () => {
    if (!file) return;
    const done = await api.importFile("/event-type/import", {}, file.text);
    say(`${counted(done.created.length, "type")} created, ${done.updated.length} updated.`);
    await types.reload();
  };
  return html`<${Heading} title="Event catalog">
      ${isAdmin && html`<a class="button" href="/api/v1/event-type/export" download="catalog.json">Export</a>
        <label class="button">Import<input type="file" class="hidden" accept=".json,.yaml,.yml" onChange=${choose} /></label>`}
    </${Heading}>
    <input type="search" class="search" aria-label="Search the catalog" placeholder="Search by name, group or description" value=${asked}
      onInput=${(/** @type {any} */ event) => filter({ q: event.target.value }, { replace: true })} />
    <${Loaded} of=${types}>${(/** @type {any[]} */ types) => {
      const groups = grouped(types.filter((type) => matches(type, asked)));
      if (!groups.length) return html`<${Empty} title=${types.length ? "No event type is called that" : "The catalog is empty"}>Types appear here when they are first published, or when a catalog is imported.</${Empty}>`;
      return groups.map(([group, of]) => html`<section class="card" key=${group}><h2>${group || "Without a group"}</h2>
        <ul class="types">${of.map((type) => html`<li key=${type.name}><a class="mono" href=${to(["catalog", type.name], { app })}>${type.name}</a> <${Marks} type=${type} /> <span class="sub">${day.data?.[type.name] ? `${counted(day.data[type.name], "event")} in 24 hours` : ""}</span><div class="sub">${type.description}</div></li>`)}</ul></section>`);
    }}</${Loaded}>
    ${file && html`<${Dialog} title="Import this catalog?" kind="primary" confirm="Import" onConfirm=${bring} onClose=${() => setFile(null)}>
      <p>${counted(file.would.created.length, "type")} would be created, ${file.would.updated.length} updated, ${file.would.unchanged} are as they were.</p></${Dialog}>`}`;
}

/** @param {{ type: any }} props */
const Marks = ({ type }) => html`${type.archived && html`<${Badge} kind="off">Currently unavailable</${Badge}>`}
  ${type.deprecated && html` <${Badge} kind="off">Deprecated</${Badge}>`} ${type.discovered && html`<${Badge} kind="plain">Seen in traffic</${Badge}>`}`;

/** @param {{ app: string, name: string }} props */
function Type({ app, name }) {
  const path = `/event-type/${encodeURIComponent(name)}`;
  const type = useLoad(() => api.get(path), [name]);
  const isAdmin = session.value?.scope === "admin";
  const change = async (/** @type {any} */ fields, /** @type {string} */ done) => {
    await api.patch(path, fields);
    await type.reload();
    say(done);
  };
  return html`<${Loaded} of=${type}>${(/** @type {any} */ type) => {
    const versions = Object.keys(type.schemas ?? {}).sort((one, other) => Number(other) - Number(one));
    return html`<${Heading} title=${type.name} back=${to(["catalog"], { app })} aside=${html`<${Marks} type=${type} />`}>
        ${isAdmin && html`<${Button} onPress=${() => change({ archived: !type.archived }, type.archived ? "Available again." : "Marked as unavailable.")}>${type.archived ? "Make available" : "Make unavailable"}</${Button}>`}
      </${Heading}>
      <section class="card"><p>${type.description || "Nobody has described it yet."}</p>
        <dl><dt>Group</dt><dd>${type.groupName || "None"}</dd><dt>Checked against its schema</dt><dd>${{ off: "No", warn: "Yes, and counted", reject: "Yes, and refused" }[/** @type {"off"} */ (type.validation)] ?? type.validation}</dd></dl></section>
      <${Use} app=${app} name=${name} />
      ${type.sample !== null && type.sample !== undefined && html`<section class="card"><h2>Sample</h2><${Code} label="Sample" text=${JSON.stringify(type.sample, null, 2)} /></section>`}
      ${versions.map((version) => html`<section class="card" key=${version}><h2>Schema, version ${version}</h2><ul class="tree"><${Fields} schema=${type.schemas[version]} /></ul>
        <details><summary>JSON Schema</summary><${Code} label=${`Schema ${version}`} text=${JSON.stringify(type.schemas[version], null, 2)} /></details></section>`)}
      ${!versions.length && html`<p class="sub">It has no schema.</p>`}`;
  }}</${Loaded}>`;
}

/** Who asks for a type, and how many events of it there were. @param {{ app: string, name: string }} props */
function Use({ app, name }) {
  const use = useLoad(() => Promise.all([endpointsOf(app), volumes(app, DAY_MS), volumes(app, 7 * DAY_MS)]), [app, name], 15_000);
  return html`<section class="card"><h2>In this application</h2><${Loaded} of=${use}>${(/** @type {any[]} */ [endpoints, day, week]) => {
    const asking = endpoints.filter((/** @type {any} */ one) => asksFor(one, name));
    return html`<p class="figures"><span class="figure"><b>${count(day[name] ?? 0)}</b> in 24 hours</span><span class="figure"><b>${count(week[name] ?? 0)}</b> in 7 days</span></p>
      <h3>${asking.length ? `${counted(asking.length, "endpoint")} asking for it` : "No endpoint asks for it"}</h3>
      <ul class="types">${asking.map((/** @type {any} */ one) => html`<li key=${one.id}><a href=${to(["app", app, "endpoints", one.id])}>${one.name || one.url}</a> <${State} endpoint=${one} /> ${!one.eventTypes?.length && html`<span class="sub">all types</span>`}</li>`)}</ul>`;
  }}</${Loaded}></section>`;
}

/** The fields of a schema, as far as it spells them out. @param {{ schema: any, depth?: number }} props */
function Fields({ schema, depth = 0 }) {
  const properties = Object.entries(schema?.properties ?? schema?.items?.properties ?? {});
  const required = schema?.required ?? schema?.items?.required ?? [];
  if (depth > 8) return null;
  return properties.map(([name, field]) => {
    const of = /** @type {any} */ (field);
    const kind = [of.type ?? (of.enum ? "one of" : of.$ref ? "reference" : "any")].flat().join(" or ");
    const nested = of.properties ?? of.items?.properties;
    return html`<li key=${name}><span class="mono">${name}</span> <span class="sub">${kind}${required.includes(name) ? "" : ", optional"}${of.description ? ` · ${of.description}` : ""}</span>${nested && html`<ul class="tree"><${Fields} schema=${of} depth=${depth + 1} /></ul>`}</li>`;
  });
}
