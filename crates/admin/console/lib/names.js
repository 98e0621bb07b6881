// @ts-check
/** What the endpoints of an application are called. */
import { api } from "./api.js";
import { useLoad } from "./load.js";

/** Endpoints whose names are asked for at most: more than anybody reads in a list of choices. */
const MOST = 1_000;

/** The endpoints of an application, up to a thousand. @param {string} app @returns {Promise<any[]>} */
export async function endpointsOf(app) {
  /** @type {any[]} */
  const all = [];
  let iterator;
  do {
    const page = await api.get(api.app(app, "endpoint"), { limit: 250, iterator });
    all.push(...page.data);
    iterator = page.done ? undefined : page.iterator;
  } while (iterator && all.length < MOST);
  return all;
}

/** By id. @param {string} app @returns {{ names: Record<string, string>, endpoints: any[] }} */
export function useNames(app) {
  const found = useLoad(() => endpointsOf(app), [app]);
  const endpoints = found.data ?? [];
  return { endpoints, names: Object.fromEntries(endpoints.map((/** @type {any} */ one) => [one.id, one.name || one.url])) };
}
