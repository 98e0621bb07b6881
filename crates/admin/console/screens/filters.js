// @ts-check
/** Filters of a list; each is in the address. */
import { html } from "../lib/html.js";
import { filter, place } from "../lib/route.js";

/** @param {string} name */
export const chosen = (name) => place.value.query.get(name) ?? "";

/** @param {{ name: string, label: string, options: [string, string][] }} props */
export const Select = ({ name, label, options }) => html`<label class="filter">${label}
  <select value=${chosen(name)} onChange=${(/** @type {any} */ event) => filter({ [name]: event.target.value, iterator: undefined })}>
    ${options.map(([value, text]) => html`<option value=${value} selected=${value === chosen(name)}>${text}</option>`)}
  </select></label>`;

/** @param {{ name: string, label: string, placeholder?: string, type?: string }} props */
export const Text = ({ name, label, placeholder, type = "text" }) => html`<label class="filter">${label}
  <input type=${type} value=${chosen(name)} placeholder=${placeholder} spellcheck=${false}
    onChange=${(/** @type {any} */ event) => filter({ [name]: event.target.value.trim(), iterator: undefined })} /></label>`;

/** A moment typed into a form, in the time of whoever types it. @param {string} text */
export function instant(text) {
  const at = new Date(text);
  return text && !Number.isNaN(at.getTime()) ? at.toISOString() : undefined;
}

/** @param {any[]} endpoints @returns {[string, string][]} */
export const endpointOptions = (endpoints) => [["", "All endpoints"], ...endpoints.map((one) => /** @type {[string, string]} */ ([one.id, one.name || one.url]))];
