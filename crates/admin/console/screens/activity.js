// @ts-check
/** Attempts as they happen. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { html } from "../lib/html.js";
import { useNames } from "../lib/names.js";
import { to } from "../lib/route.js";
import { count, counted, duration, timeOfDay } from "../lib/text.js";
import { Badge, Empty, Heading } from "../lib/ui.js";
import { Outcome } from "./attempts.js";
import { chosen, endpointOptions, Select, Text } from "./filters.js";

/** Attempts that are shown. More than a screen holds, and few enough to draw five times a second. */
const SHOWN = 100;
/** How often what came is drawn, in ms. */
const DRAWN_EVERY = 200;
/** How long after the end of a stream another is begun, in ms. */
const AGAIN_AFTER = 3_000;
/** Seconds the rate is counted over. */
const RATE_OVER = 300;

/** @typedef {{ attempts: any[], missed: number, missedSome: boolean, came: number, perSecond: Map<number, number> }} Stream */

/** @returns {Stream} */
const nothing = () => ({ attempts: [], missed: 0, missedSome: false, came: 0, perSecond: new Map() });

/** @param {Stream} stream */
function rate(stream) {
  const since = Math.floor(Date.now() / 1000) - RATE_OVER;
  let sum = 0;
  for (const [second, came] of stream.perSecond) {
    if (second < since) stream.perSecond.delete(second);
    else sum += came;
  }
  return sum / RATE_OVER;
}

/** One attempt, made once: nearly all of what is drawn five times a second was there before. @param {{ app: string, attempt: any, name: string }} props */
function Row({ app, attempt, name }) {
  return useMemo(() => html`<li>
    <a class="sub" href=${to(["app", app, "logs"], { message: attempt.msgId, attempt: attempt.id })}>${timeOfDay(attempt.timestamp)}</a>
    <${Outcome} attempt=${attempt} /><span class="mono">${attempt.eventType}</span><span class="stretch">${name}</span>
    <span class="sub">attempt ${attempt.attempt} · ${duration(attempt.responseDurationMs)}</span></li>`, [app, attempt, name]);
}

/** @param {{ app: string }} props */
export function Activity({ app }) {
  const { endpoints, names } = useNames(app);
  const stream = useRef(nothing());
  const [shown, setShown] = useState(/** @type {any[]} */ ([]));
  const [figures, setFigures] = useState({ rate: 0, came: 0, missed: 0, missedSome: false });
  const [state, setState] = useState("connecting");
  const [paused, setPaused] = useState(false);
  const isPaused = useRef(false);
  isPaused.current = paused;
  const query = new URLSearchParams({ app });
  for (const [name, of] of [["endpoint_id", "endpoint"], ["event_types", "type"], ["channel", "channel"], ["status", "status"]]) {
    if (chosen(of)) query.set(name, chosen(of));
  }
  const address = `/api/v1/activity?${query}`;
  useEffect(() => {
    stream.current = nothing();
    setShown([]);
    let source = new EventSource(address);
    let again = 0;
    // A browser connects again by itself, but not after an answer that is none.
    const lost = () => {
      setState("reconnecting");
      if (source.readyState !== EventSource.CLOSED) return;
      again = setTimeout(() => { source = listen(new EventSource(address)); }, AGAIN_AFTER);
    };
    const took = (/** @type {MessageEvent} */ event) => {
      const { current } = stream;
      const attempt = JSON.parse(event.data);
      // After a reconnection some come twice.
      if (current.attempts.some((one) => one.id === attempt.id)) return;
      const second = Math.floor(Date.now() / 1000);
      current.perSecond.set(second, (current.perSecond.get(second) ?? 0) + 1);
      current.came += 1;
      current.attempts.unshift(attempt);
      if (current.attempts.length > SHOWN) current.attempts.length = SHOWN;
    };
    const missed = (/** @type {MessageEvent} */ event) => {
      const { count } = JSON.parse(event.data);
      if (count === null) stream.current.missedSome = true;
      else stream.current.missed += count;
    };
    const listen = (/** @type {EventSource} */ on) => {
      on.onopen = () => setState("live");
      on.onerror = lost;
      on.addEventListener("attempt", took);
      on.addEventListener("missed", missed);
      return on;
    };
    listen(source);
    let drawn = -1;
    const timer = setInterval(() => {
      const { current } = stream;
      setFigures({ rate: rate(current), came: current.came, missed: current.missed, missedSome: current.missedSome });
      if (current.came === drawn || isPaused.current) return;
      setShown(current.attempts.slice());
      drawn = current.came;
    }, DRAWN_EVERY);
    return () => { clearInterval(timer); clearTimeout(again); source.close(); };
  }, [address]);
  const states = /** @type {Record<string, [string, string]>} */ ({ live: ["good", "Live"], connecting: ["off", "Connecting…"], reconnecting: ["bad", "Reconnecting…"] });
  const [kind, said] = paused ? ["off", "Paused"] : states[state];
  const missed = figures.missed > 0 || figures.missedSome;
  return html`<${Heading} title="Activity" aside=${html`<${Badge} kind=${kind}>${said}</${Badge}>`}>
      <button type="button" aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${paused ? "Go on" : "Pause"}</button>
    </${Heading}>
    <div class="filters">
      <${Select} name="endpoint" label="Endpoint" options=${endpointOptions(endpoints)} />
      <${Text} name="type" label="Event type" placeholder="user.created" />
      <${Text} name="channel" label="Channel" placeholder="client_123" />
      <${Select} name="status" label="Outcome" options=${[["", "All"], ["0", "Delivered"], ["2", "Failed"]]} />
    </div>
    <p class="figures"><span class="figure"><b>${figures.rate.toFixed(1)}</b> attempts per second in the last five minutes</span><span class="figure"><b>${count(figures.came)}</b> since this page was opened</span></p>
    ${missed && html`<p class="trouble" role="status">${figures.missed > 0 ? counted(figures.missed, "attempt") : "Some attempts"} could not be shown; they are in the <a href=${to(["app", app, "logs"])}>logs</a>.</p>`}
    ${shown.length ? html`<ul class="stream" aria-label="Attempts">${shown.map((attempt) => html`<${Row} key=${attempt.id} app=${app} attempt=${attempt} name=${names[attempt.endpointId] ?? attempt.url} />`)}</ul>`
      : html`<${Empty} title="Nothing yet">What is delivered from now on appears here by itself.</${Empty}>`}`;
}
