// @ts-check
/** Reading what a screen shows, and reading it again. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/**
 * @template T
 * @typedef {{ data: T | undefined, error: Error | undefined, loading: boolean, reload: () => Promise<void> }} Loaded
 */

/**
 * Reads something whenever what it depends on changes, and every so often if asked.
 * @template T
 * @param {() => Promise<T>} read
 * @param {any[]} on
 * @param {number} [everyMs]
 * @returns {Loaded<T>}
 */
export function useLoad(read, on, everyMs) {
  const [state, setState] = useState(/** @type {{ data?: T, error?: Error, loading: boolean }} */ ({ loading: true }));
  const turn = useRef(0);
  const reading = useRef(0);
  const latest = useRef(read);
  latest.current = read;
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    reading.current = mine;
    try {
      const data = await latest.current();
      if (mine === turn.current) setState({ data, loading: false });
    } catch (error) {
      if (mine === turn.current) setState((before) => ({ ...before, error: /** @type {Error} */ (error), loading: false }));
    } finally {
      if (reading.current === mine) reading.current = 0;
    }
  }, []);
  useEffect(() => {
    setState({ loading: true });
    reload();
    if (!everyMs) return () => { turn.current += 1; };
    // Whoever is slow is not asked again before the answer.
    const timer = setInterval(() => { if (!document.hidden && !reading.current) reload(); }, everyMs);
    return () => { turn.current += 1; clearInterval(timer); };
  }, on);
  return { data: state.data, error: state.error, loading: state.loading, reload };
}
