// @ts-check
/** How things are said. */

const numbers = new Intl.NumberFormat("en");
const times = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** @param {number} count */
export const count = (count) => numbers.format(count);

/** @param {string | number | Date} at */
export const moment = (at) => times.format(new Date(at));

/** As a form wants a moment, in the time of whoever types. @param {number} ms */
export const typed = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

/** @param {string | number | Date} at */
export const timeOfDay = (at) => clock.format(new Date(at));

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** How long it is until then. @param {string} at */
export const remaining = (at) => duration(Math.max(0, new Date(at).getTime() - Date.now()));

/** @param {string} at */
export function ago(at) {
  const ms = Date.now() - new Date(at).getTime();
  if (Math.abs(ms) < 1_000) return "just now";
  return ms < 0 ? `in ${duration(-ms)}` : `${duration(ms)} ago`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${numbers.format(count)} ${count === 1 ? one : many}`;

/**
 * JSON, with numbers as they are written where this language would round them.
 * @param {string} text
 * @returns {any}
 */
export function parse(text) {
  const { rawJSON } = /** @type {any} */ (JSON);
  const exact = (/** @type {string} */ _, /** @type {any} */ value, /** @type {any} */ context) => {
    const source = typeof value === "number" && context?.source;
    return source && rawJSON && String(value) !== source ? rawJSON(source) : value;
  };
  return JSON.parse(text, /** @type {any} */ (exact));
}

/** JSON, indented, if it is that. @param {string} text */
export function pretty(text) {
  try {
    return JSON.stringify(parse(text), null, 2);
  } catch {
    return text;
  }
}

/** The outcome of an attempt, for people. @type {Record<string, string>} */
export const OUTCOMES = {
  success: "Delivered",
  http_3xx: "Redirect refused",
  http_4xx: "Client error",
  http_410: "Gone",
  http_429: "Too many requests",
  http_5xx: "Server error",
  timeout: "Timed out",
  dns: "Host not found",
  connect: "No connection",
  tls: "TLS failed",
  blocked: "Address not allowed",
  protocol: "Not HTTP",
  canceled: "Canceled",
};

/** Why a delivery is dead, for people. @type {Record<string, string>} */
export const REASONS = {
  attempts_exhausted: "All attempts failed",
  gone: "Endpoint is gone (410)",
  blocked: "Address not allowed",
  endpoint_inactive: "Endpoint is inactive",
  endpoint_unavailable: "Endpoint unavailable for a day",
  expired: "Too old",
  aborted: "Receiver asked to stop",
};

/** What a task does, for people. @type {Record<string, string>} */
export const TASKS = {
  "dead-letter.replay": "Replaying dead letters",
  "dead-letter.discard": "Discarding dead letters",
  "endpoint.recover": "Recovering what failed at an endpoint",
  "endpoint.replay": "Sending an endpoint what it missed",
};
