// @ts-check
/** The endpoints of an application. */
import { useMemo } from "preact/hooks";
import { api } from "../lib/api.js";
import { html } from "../lib/html.js";
import { useLoad } from "../lib/load.js";
import { filter, place, to } from "../lib/route.js";
import { Ago, Badge, Empty, Heading, Loaded, Pages, Sparkline, State } from "../lib/ui.js";

const PAGE = 25;

/** What the row says beside the endpoint itself. @param {string} app @param {any} endpoint */
async function lately(app, endpoint) {
  const path = api.app(app, "endpoint", endpoint.id, "stats", "hourly");
  const [hours, attempts] = await Promise.all([api.get(path), api.get(api.app(app, "attempt", "endpoint", endpoint.id), { limit: 1, with_content: false })]);
  return { hours: hours.data.slice(-24), last: attempts.data[0] };
}

/** @param {{ app: string }} props */
export function Endpoints({ app }) {
  const iterator = place.value.query.get("iterator") ?? undefined;
  const asked = place.value.query.get("q") ?? "";
  const pages = useLoad(async () => {
    const page = await api.get(api.app(app, "endpoint"), { limit: PAGE, iterator });
    return { ...page, lately: await Promise.all(page.data.map((/** @type {any} */ endpoint) => lately(app, endpoint))) };
  }, [app, iterator], 15_000);
  const create = html`<a class="button primary" href=${to(["app", app, "endpoints", "new"])}>New endpoint</a>`;
  return html`<${Heading} title="Endpoints">${create}</${Heading}>
    <${Loaded} of=${pages}>${(/** @type {any} */ page) => html`<${Rows} app=${app} page=${page} asked=${asked} />
      <${Pages} page=${page} first=${!iterator} onGo=${(/** @type {string | undefined} */ next) => filter({ iterator: next })} />`}</${Loaded}>`;
}

/** @param {{ app: string, page: any, asked: string }} props */
function Rows({ app, page, asked }) {
  const rows = useMemo(() => page.data.map((/** @type {any} */ endpoint, /** @type {number} */ index) => ({ endpoint, ...page.lately[index] })), [page]);
  if (!rows.length) {
    return html`<${Empty} title="No endpoints yet"><p>An endpoint is a URL of yours, or your customer's, that events are sent to.</p></${Empty}>`;
  }
  const text = (/** @type {any} */ one) => `${one.name} ${one.url} ${one.description}`.toLowerCase();
  const shown = rows.filter((/** @type {any} */ row) => text(row.endpoint).includes(asked.toLowerCase()));
  return html`<input type="search" class="search" aria-label="Find on this page" placeholder="Find by name or URL" value=${asked}
      onInput=${(/** @type {any} */ event) => filter({ q: event.target.value }, { replace: true })} />
    <div class="table-place"><table>
      <thead><tr><th>Name</th><th>State</th><th>Event types</th><th>Channels</th><th>Last 24 hours</th><th>Last attempt</th></tr></thead>
      <tbody>${shown.map((/** @type {any} */ row) => html`<${Row} app=${app} ...${row} key=${row.endpoint.id} />`)}</tbody>
    </table></div>
    ${!shown.length && html`<${Empty} title="None of these is called that" />`}`;
}

/** @param {{ app: string, endpoint: any, hours: any[], last: any }} props */
function Row({ app, endpoint, hours, last }) {
  const name = endpoint.name || endpoint.url;
  return html`<tr>
    <td data-label="Name"><a href=${to(["app", app, "endpoints", endpoint.id])}>${name}</a>${endpoint.name && html`<div class="sub url">${endpoint.url}</div>`}</td>
    <td data-label="State"><${State} endpoint=${endpoint} /></td>
    <td data-label="Event types"><${Names} names=${endpoint.eventTypes} none="All" /></td>
    <td data-label="Channels"><${Names} names=${endpoint.channels} none="Everything" /></td>
    <td data-label="Last 24 hours"><${Sparkline} hours=${hours} /></td>
    <td data-label="Last attempt">${last ? html`<${Ago} at=${last.timestamp} />` : html`<span class="sub">None yet</span>`}</td>
  </tr>`;
}

/** @param {{ names: string[] | undefined, none: string }} props */
export function Names({ names, none }) {
  if (!names?.length) return html`<span class="sub">${none}</span>`;
  const [shown, more] = [names.slice(0, 2), names.length - 2];
  return html`<span class="names">${shown.map((name) => html`<${Badge} kind="plain">${name}</${Badge}>`)}
    ${more > 0 && html`<span class="sub" title=${names.join(", ")}>and ${more} more</span>`}</span>`;
}
