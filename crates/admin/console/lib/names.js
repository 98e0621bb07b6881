// @ts-check
/** What the endpoints of an application are called. */
import { api } from "./api.js";
import { useLoad } from "./load.js";

/** The first some hundred by id. @param {string} app @returns {{ names: Record<string, string>, endpoints: any[] }} */
export function useNames(app) {
  const page = useLoad(() => api.get(api.app(app, "endpoint"), { limit: 250 }), [app]);
  const endpoints = page.data?.data ?? [];
  return { endpoints, names: Object.fromEntries(endpoints.map((/** @type {any} */ one) => [one.id, one.name || one.url])) };
}
