// @ts-check
/** Charts over time. */
import UPlot from "uplot";
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

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
      axes: [axis, { ...axis, size: 52, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => `${tick}${unit}`) }],
      series: [{}, ...series.map((one) => ({ label: one.label, stroke: colour(one.colour), width: 2, fill: `${colour(one.colour)}22`, spanGaps: true }))],
    }, /** @type {any} */ ([times, ...series.map((one) => one.values)]), host);
    const resize = new ResizeObserver(() => chart.setSize({ width: host.clientWidth, height: 200 }));
    resize.observe(host);
    return () => { resize.disconnect(); chart.destroy(); };
  }, [times, JSON.stringify(series)]);
  return html`<figure class="chart"><figcaption>${label}</figcaption><div ref=${ref}></div></figure>`;
}
