// @ts-check
/** The HTTP API, as any other client of it would use it. */
import { signal } from "@preact/signals";
import { parse } from "./text.js";

/** Who is signed in; `undefined` while nobody knows.
 * @type {import("@preact/signals").Signal<{ scope: string, app: string | null, expiresAt: string } | null | undefined>} */
export const session = signal(undefined);

const OURS = { "hookyard-console": "1" };

/** An answer that is not the one hoped for. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   * @param {Record<string, string>} fields What is wrong with which field.
   */
  constructor(status, detail, fields = {}) {
    super(detail);
    this.status = status;
    this.fields = fields;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
async function call(method, path, body, headers = {}) {
  /** @type {{ method: string, headers: Record<string, string>, body?: string }} */
  const init = { method, headers: { ...OURS, ...headers } };
  if (body !== undefined) {
    init.headers["content-type"] ??= "application/json";
    init.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new Problem(0, "Hookyard cannot be reached. Is it running?");
  }
  const text = await response.text();
  const answer = response.headers.get("content-type")?.includes("json") && text ? parse(text) : text;
  if (response.ok) return answer;
  if (response.status === 401 && path.startsWith("/api/")) session.value = null;
  throw problemOf(response.status, answer);
}

/**
 * @param {number} status
 * @param {any} answer
 */
function problemOf(status, answer) {
  const detail = answer?.detail;
  if (!Array.isArray(detail)) return new Problem(status, typeof detail === "string" ? detail : `It answered ${status}.`);
  const fields = Object.fromEntries(detail.map((/** @type {any} */ one) => [one.loc.filter((/** @type {string} */ part) => part !== "body").join("."), one.msg]));
  return new Problem(status, detail.map((/** @type {any} */ one) => one.msg).join("; "), fields);
}

/** @param {Record<string, string | number | boolean | undefined | null>} query */
function search(query) {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}` : "";
}

const part = encodeURIComponent;

/** Operations of the API, one name each. */
export const api = {
  /** @param {string} path @param {Record<string, any>} [query] */
  get: (path, query = {}) => call("GET", `/api/v1${path}${search(query)}`),
  /** @param {string} path @param {any} [body] @param {Record<string, any>} [query] */
  post: (path, body = {}, query = {}) => call("POST", `/api/v1${path}${search(query)}`, body),
  /** @param {string} path @param {any} body */
  put: (path, body) => call("PUT", `/api/v1${path}`, body),
  /** @param {string} path @param {any} body */
  patch: (path, body) => call("PATCH", `/api/v1${path}`, body),
  /** @param {string} path */
  delete: (path) => call("DELETE", `/api/v1${path}`),
  /** @param {string} path @param {Record<string, any>} query @param {string} text */
  importFile: (path, query, text) => {
    const kind = text.trimStart().startsWith("{") ? "application/json" : "application/yaml";
    return call("POST", `/api/v1${path}${search(query)}`, text, { "content-type": kind });
  },
  /** The path of an application. @param {string} app @param {...string} rest */
  app: (app, ...rest) => `/app/${part(app)}${rest.map((one) => `/${part(one)}`).join("")}`,
};

/** Looks who is signed in. */
export async function look() {
  try {
    session.value = await call("GET", "/console/session");
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 0) throw problem;
    session.value = null;
  }
}

/** @param {string} token */
export async function signIn(token) {
  session.value = await call("POST", "/console/session", { token });
}

/** Ends the cookie, and with it what this browser may do. */
export async function signOut() {
  await call("DELETE", "/console/session");
  session.value = null;
}
