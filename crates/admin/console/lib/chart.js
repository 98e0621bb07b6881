// @ts-check
/** Charts over time. */
import UPlot from "uplot";
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { isDark } from "./theme.js";

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** Steps of an axis that counts: there are no halves. */
const WHOLE = [1, 2, 5].flatMap((step) => [0, 1, 2, 3, 4, 5, 6, 7].map((zeros) => step * 10 ** zeros)).sort((one, other) => one - other);

/** Days where hours would all be midnight. @param {any} _ @param {number[]} ticks */
const moments = (_, ticks) => {
  const areDays = ticks.length > 1 && ticks[1] - ticks[0] >= 86_400;
  return ticks.map((tick) => (areDays ? day : clock).format(tick * 1_000));
};

/**
 * Lines or stacked bars over time.
 * @param {{ label: string, times: number[], series: { label: string, colour: string, values: (number | null)[] }[], unit?: string }} props
 */
export function Chart({ label, times, series, unit = "" }) {
  const ref = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    const host = ref.current;
    if (!host) return undefined;
    const [ink, line] = [colour("--muted"), colour("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    const chart = new UPlot({
      width: host.clientWidth,
      height: 200,
      cursor: { points: { size: 6 } },
      legend: { live: true },
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [{ ...axis, values: moments }, { ...axis, size: 52, incrs: WHOLE, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => `${tick}${unit}`) }],
      series: [{ value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "–" : `${day.format(at * 1_000)}, ${clock.format(at * 1_000)}`) }, ...series.map((one) => ({ label: one.label, stroke: colour(one.colour), width: 2, points: { show: false }, fill: `${colour(one.colour)}22`, spanGaps: true }))],
    }, /** @type {any} */ ([times, ...series.map((one) => one.values)]), host);
    const resize = new ResizeObserver(() => chart.setSize({ width: host.clientWidth, height: 200 }));
    resize.observe(host);
    return () => { resize.disconnect(); chart.destroy(); };
  }, [times, JSON.stringify(series), isDark.value]);
  return html`<figure class="chart"><figcaption>${label}</figcaption><div ref=${ref}></div></figure>`;
}
