// @ts-check
/** The parts that screens are made of. */
import { signal } from "@preact/signals";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { ago, moment } from "./text.js";

/** @typedef {any} Node */

/** What was done, said for some seconds. @type {import("@preact/signals").Signal<{ text: string, kind: string } | null>} */
const notice = signal(null);
let noticed = 0;

/** @param {string} text @param {"good" | "bad"} [kind] */
export function say(text, kind = "good") {
  notice.value = { text, kind };
  clearTimeout(noticed);
  noticed = setTimeout(() => { notice.value = null; }, 6_000);
}

export function Notice() {
  const said = notice.value;
  return html`<div class="notice-place" role="status" aria-live="polite">
    ${said && html`<div class="notice ${said.kind}">${said.text}
      <button class="quiet" aria-label="Dismiss" onClick=${() => { notice.value = null; }}>×</button></div>`}
  </div>`;
}

/**
 * Does something once, says how it went, and is not to be pressed meanwhile.
 * @param {{ onPress: () => Promise<any> | any, kind?: string, children?: Node, disabled?: boolean, title?: string, submit?: boolean, label?: string }} props
 */
export function Button({ onPress, kind = "", children, disabled, title, submit, label }) {
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    try {
      await onPress();
    } catch (error) {
      say(/** @type {Error} */ (error).message, "bad");
    } finally {
      setBusy(false);
    }
  };
  return html`<button type=${submit ? "submit" : "button"} class=${kind} disabled=${disabled || busy} aria-busy=${busy}
    aria-label=${label} title=${title} onClick=${submit ? undefined : press}>${children}</button>`;
}

/**
 * Shows what was read, or why there is nothing to show.
 * @param {{ of: import("./load.js").Loaded<any>, children: (data: any) => Node }} props
 */
export function Loaded({ of, children }) {
  if (of.data !== undefined) {
    return html`${of.error && html`<${Trouble} error=${of.error} retry=${of.reload} />`}${children(of.data)}`;
  }
  if (of.error) return html`<${Trouble} error=${of.error} retry=${of.reload} />`;
  return html`<div class="loading" role="status"><span class="spinner" aria-hidden="true"></span>Loading…</div>`;
}

/** @param {{ error: Error, retry?: () => any }} props */
export function Trouble({ error, retry }) {
  return html`<div class="trouble" role="alert"><p>${error.message}</p>
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}</div>`;
}

/** @param {{ title: string, children?: Node }} props */
export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

/** @param {{ title: string, back?: string, children?: Node, aside?: Node }} props */
export function Heading({ title, back, children, aside }) {
  useEffect(() => { document.title = `${title} · Hookyard`; }, [title]);
  return html`<header class="heading">
    <div class="heading-title">${back && html`<a class="back" href=${back} aria-label="Back">←</a>`}<h1>${title}</h1>${aside}</div>
    <div class="actions">${children}</div>
  </header>`;
}

/** @param {{ kind: string, children: Node, title?: string }} props */
export const Badge = ({ kind, children, title }) => html`<span class="badge ${kind}" title=${title}>${children}</span>`;

/** The state of an endpoint. @param {{ endpoint: any }} props */
export function State({ endpoint }) {
  const { state, breaker } = endpoint;
  if (state === "inactive" || state === "disabled") return html`<${Badge} kind="off">Inactive</${Badge}>`;
  if (state === "failing") return html`<${Badge} kind="bad" title=${`Breaker ${breaker.replace("_", "-")}`}>Failing</${Badge}>`;
  return html`<${Badge} kind="good">Active</${Badge}>`;
}

/** @param {{ at: string }} props */
export const Ago = ({ at }) => html`<time datetime=${at} title=${moment(at)}>${ago(at)}</time>`;

/**
 * A labelled input, with what is wrong with it.
 * @param {{ label: string, hint?: Node, error?: string, children: (id: string, described: string) => Node }} props
 */
export function Field({ label, hint, error, children }) {
  const id = useId();
  const described = `${id}-more`;
  return html`<div class="field ${error ? "wrong" : ""}">
    <label for=${id}>${label}</label>
    ${children(id, described)}
    <div id=${described} class="more">${error ? html`<span class="error">${error}</span>` : hint}</div>
  </div>`;
}

/** @param {{ label: string, value: string, onInput: (value: string) => void, hint?: Node, error?: string, type?: string, placeholder?: string, required?: boolean, spellcheck?: boolean }} props */
export const TextField = ({ label, value, onInput, hint, error, ...rest }) => html`
  <${Field} label=${label} hint=${hint} error=${error}>${(/** @type {string} */ id, /** @type {string} */ described) => html`
    <input id=${id} aria-describedby=${described} aria-invalid=${Boolean(error)} value=${value} autocomplete="off" ...${rest}
      onInput=${(/** @type {any} */ event) => onInput(event.target.value)} />`}</${Field}>`;

/** @param {{ label: string, value: string, options: [string, string][], onInput: (value: string) => void, hint?: Node, error?: string }} props */
export const Choice = ({ label, value, options, onInput, hint, error }) => html`
  <${Field} label=${label} hint=${hint} error=${error}>${(/** @type {string} */ id, /** @type {string} */ described) => html`
    <select id=${id} aria-describedby=${described} value=${value} onChange=${(/** @type {any} */ event) => onInput(event.target.value)}>
      ${options.map(([of, text]) => html`<option value=${of} selected=${of === value}>${text}</option>`)}
    </select>`}</${Field}>`;

/**
 * Short texts, added with Enter or a comma and removed one by one.
 * @param {{ label: string, values: string[], onChange: (values: string[]) => void, hint?: Node, error?: string, placeholder?: string }} props
 */
export function Chips({ label, values, onChange, hint, error, placeholder }) {
  const [text, setText] = useState("");
  const add = (/** @type {string} */ typed = text) => {
    const more = typed.split(",").map((one) => one.trim()).filter((one) => one && !values.includes(one));
    if (more.length) onChange([...values, ...more]);
    setText("");
  };
  const press = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !text && values.length) {
      onChange(values.slice(0, -1));
    }
  };
  return html`<${Field} label=${label} hint=${hint} error=${error}>${(/** @type {string} */ id, /** @type {string} */ described) => html`
    <div class="chips">
      ${values.map((value) => html`<span class="chip" key=${value}>${value}
        <button type="button" aria-label=${`Remove ${value}`} onClick=${() => onChange(values.filter((one) => one !== value))}>×</button></span>`)}
      <input id=${id} aria-describedby=${described} value=${text} placeholder=${placeholder} autocomplete="off" spellcheck=${false}
        onInput=${(/** @type {any} */ event) => (event.target.value.includes(",") ? add(event.target.value) : setText(event.target.value))} onKeyDown=${press} onBlur=${() => add()} />
    </div>`}</${Field}>`;
}

/**
 * Asks before something that cannot be taken back.
 * @param {{ title: string, children?: Node, confirm: string, onConfirm: () => Promise<any>, onClose: () => void, kind?: string }} props
 */
export function Dialog({ title, children, confirm, onConfirm, onClose, kind = "danger" }) {
  const ref = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => { ref.current?.showModal(); }, []);
  return html`<dialog ref=${ref} aria-labelledby=${id} onClose=${onClose}>
    <h2 id=${id}>${title}</h2>
    ${children}
    <div class="actions">
      <button type="button" onClick=${() => ref.current?.close()}>Cancel</button>
      <${Button} kind=${kind} onPress=${async () => { await onConfirm(); ref.current?.close(); }}>${confirm}</${Button}>
    </div>
  </dialog>`;
}

/** Text that may be long, and the way to take it along. @param {{ text: string, label: string }} props */
export function Code({ text, label }) {
  return html`<div class="code" role="group" aria-label=${label}>
    <${Copy} text=${text} />
    <pre tabindex="0" aria-label=${label}>${text}</pre>
  </div>`;
}

/** @param {{ text: string, children?: Node }} props */
export function Copy({ text, children = "Copy" }) {
  return html`<${Button} kind="quiet copy" onPress=${async () => { await navigator.clipboard.writeText(text); say("Copied."); }}>${children}</${Button}>`;
}

/**
 * The way to the pages beside this one; the place is in the address.
 * @param {{ page: any, onGo: (iterator: string | undefined) => void, first: boolean, names?: [string, string] }} props
 */
export function Pages({ page, onGo, first, names: [begin, on] = ["Newest", "Older"] }) {
  if (first && page.done) return null;
  return html`<nav class="pages" aria-label="Pages">
    <button type="button" disabled=${first} onClick=${() => onGo(undefined)}>${begin}</button>
    <button type="button" disabled=${page.done || !page.iterator} onClick=${() => onGo(page.iterator)}>${on}</button>
  </nav>`;
}

/** Ten bars of how deliveries went, hour by hour. @param {{ hours: { success: number, fail: number }[] }} props */
export function Sparkline({ hours }) {
  const most = Math.max(1, ...hours.map((hour) => hour.success + hour.fail));
  const [delivered, failed] = [hours.reduce((sum, hour) => sum + hour.success, 0), hours.reduce((sum, hour) => sum + hour.fail, 0)];
  const bars = hours.map((hour, index) => {
    const [good, bad] = [(hour.success / most) * 20, (hour.fail / most) * 20];
    return html`<rect class="bar-good" x=${index * 4} width="3" y=${20 - good} height=${good} />
      <rect class="bar-bad" x=${index * 4} width="3" y=${20 - good - bad} height=${bad} />`;
  });
  return html`<svg class="sparkline" width=${hours.length * 4} height="20" role="img" aria-label=${`Last 24 hours: ${delivered} delivered, ${failed} failed`}>${bars}</svg>`;
}
