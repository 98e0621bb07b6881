// @ts-check
/** Attempts in a table. */
import { html } from "../lib/html.js";
import { to } from "../lib/route.js";
import { duration, OUTCOMES } from "../lib/text.js";
import { Ago, Badge } from "../lib/ui.js";

/** How an attempt went. @param {{ attempt: any }} props */
export function Outcome({ attempt }) {
  const good = attempt.outcome === "success";
  const status = attempt.responseStatusCode ? `${attempt.responseStatusCode} ` : "";
  return html`<${Badge} kind=${good ? "good" : "bad"}>${status}${OUTCOMES[attempt.outcome] ?? attempt.outcome}</${Badge}>`;
}

/** @param {{ app: string, attempts: any[], names?: Record<string, string>, chosen?: string, here?: Record<string, string> }} props */
export function AttemptRows({ app, attempts, names, chosen, here = {} }) {
  const address = (/** @type {any} */ attempt) => to(["app", app, "logs"], { ...here, message: attempt.msgId, attempt: attempt.id });
  return html`<div class="table-place"><table>
    <thead><tr><th>When</th><th>Outcome</th><th>Event type</th>${names && html`<th>Endpoint</th>`}<th>Attempt</th><th>Took</th></tr></thead>
    <tbody>${attempts.map((attempt) => html`<tr key=${attempt.id} class=${attempt.id === chosen ? "chosen" : ""}>
      <td data-label="When"><a href=${address(attempt)}><${Ago} at=${attempt.timestamp} /></a></td>
      <td data-label="Outcome"><${Outcome} attempt=${attempt} /></td>
      <td data-label="Event type" class="mono">${attempt.eventType}</td>
      ${names && html`<td data-label="Endpoint">${names[attempt.endpointId] ?? html`<span class="url">${attempt.url}</span>`}</td>`}
      <td data-label="Attempt">${attempt.attempt}${attempt.run > 0 && html` <span class="sub">run ${attempt.run + 1}</span>`}</td>
      <td data-label="Took">${duration(attempt.responseDurationMs)}</td>
    </tr>`)}</tbody></table></div>`;
}
