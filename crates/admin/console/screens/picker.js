// @ts-check
/** Choosing event types: all of them, or some of a grouped list. */
import { useState } from "preact/hooks";
import { grouped, matches } from "../lib/catalog.js";
import { html } from "../lib/html.js";

/**
 * @param {{ types: any[], chosen: string[], all: boolean, onChange: (chosen: string[], all: boolean) => void, error?: string }} props
 */
export function Picker({ types, chosen, all, onChange, error }) {
  const [asked, setAsked] = useState("");
  const [own, setOwn] = useState("");
  const toggle = (/** @type {string} */ name) =>
    onChange(chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name], false);
  const add = () => {
    const name = own.trim();
    if (name && !chosen.includes(name)) onChange([...chosen, name], false);
    setOwn("");
  };
  const known = new Set(types.map((type) => type.name));
  const others = chosen.filter((name) => !known.has(name));
  const shown = grouped(types.filter((type) => (!type.archived || chosen.includes(type.name)) && matches(type, asked)));
  return html`<fieldset class="picker">
    <legend>Event types</legend>
    <label class="check"><input type="radio" name="which" checked=${all} onChange=${() => onChange(chosen, true)} /> All event types, also those to come</label>
    <label class="check"><input type="radio" name="which" checked=${!all} onChange=${() => onChange(chosen, false)} /> Only these</label>
    ${!all && html`
      <input type="search" aria-label="Search event types" placeholder="Search event types" value=${asked} onInput=${(/** @type {any} */ event) => setAsked(event.target.value)} />
      <div class="options" tabindex="0" role="group" aria-label="Event types to choose from">
        ${shown.map(([group, of]) => html`<div key=${group}><h3>${group || "Without a group"}</h3>
          ${of.map((type) => html`<label class="check" key=${type.name}><input type="checkbox" checked=${chosen.includes(type.name)} onChange=${() => toggle(type.name)} />
            <span><span class="mono">${type.name}</span>${type.description && html`<span class="sub">${type.description}</span>`}</span></label>`)}</div>`)}
        ${others.map((name) => html`<label class="check" key=${name}><input type="checkbox" checked onChange=${() => toggle(name)} /><span class="mono">${name}</span></label>`)}
        ${!shown.length && !others.length && html`<p class="sub">${types.length ? "None is called that." : "The catalog is empty. Types appear in it when they are first published."}</p>`}
      </div>
      <div class="row"><input aria-label="Another event type" placeholder="Another, such as user.*" value=${own} spellcheck=${false}
        onInput=${(/** @type {any} */ event) => setOwn(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter") { event.preventDefault(); add(); } }} />
        <button type="button" onClick=${add} disabled=${!own.trim()}>Add</button></div>
      <p class="sub" role="status">${chosen.length ? `${chosen.length} chosen` : "Choose at least one, or all."}</p>`}
    ${error && html`<p class="error">${error}</p>`}
  </fieldset>`;
}
