// @ts-check
/** The event catalog as screens need it. */
import { api } from "./api.js";

/** Every event type, archived ones too. @param {{ withContent?: boolean }} [how] @returns {Promise<any[]>} */
export async function eventTypes({ withContent = false } = {}) {
  /** @type {any[]} */
  const all = [];
  let iterator;
  do {
    const page = await api.get("/event-type", { limit: 250, order: "ascending", include_archived: true, with_content: withContent, iterator });
    all.push(...page.data);
    iterator = page.done ? undefined : page.iterator;
  } while (iterator);
  return all;
}

/** By group, those without one last. @param {any[]} types @returns {[string, any[]][]} */
export function grouped(types) {
  /** @type {Map<string, any[]>} */
  const groups = new Map();
  for (const type of types) {
    const name = type.groupName ?? "";
    groups.set(name, [...(groups.get(name) ?? []), type]);
  }
  return [...groups].sort(([one], [other]) => (one === "" ? 1 : other === "" ? -1 : one.localeCompare(other)));
}

/** Whether an endpoint asks for a type: without any it asks for all, and `user.*` asks for what begins with `user.`. @param {any} endpoint @param {string} name */
export function asksFor(endpoint, name) {
  const types = /** @type {string[]} */ (endpoint.eventTypes ?? []);
  return !types.length || types.some((one) => one === name || (one.endsWith(".*") && name.startsWith(one.slice(0, -1))));
}

/** Whether a type or its description holds every word asked for. @param {any} type @param {string} asked */
export function matches(type, asked) {
  const text = `${type.name} ${type.description} ${type.groupName ?? ""}`.toLowerCase();
  return asked.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
