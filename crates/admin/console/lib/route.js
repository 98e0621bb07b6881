// @ts-check
/** Where one is: the address holds the screen and every filter, so that a link shows what its sender saw. */
import { signal } from "@preact/signals";

const HOME = "/console/";

/** @typedef {{ parts: string[], query: URLSearchParams }} Place */

/** @returns {Place} */
function read() {
  const path = location.pathname.startsWith(HOME) ? location.pathname.slice(HOME.length) : "";
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(location.search) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The present place. */
export const place = signal(read());

addEventListener("popstate", () => { place.value = read(); });

/**
 * The address of a place.
 * @param {string[]} parts
 * @param {Record<string, string | undefined>} [query]
 */
export function to(parts, query = {}) {
  const set = Object.entries(query).filter(([, value]) => value);
  const search = new URLSearchParams(/** @type {[string, string][]} */ (set)).toString();
  return HOME + parts.map(encodeURIComponent).join("/") + (search ? `?${search}` : "");
}

/**
 * Goes to an address.
 * @param {string} address
 * @param {{ replace?: boolean }} [how]
 */
export function go(address, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  place.value = read();
}

/**
 * The same place with other filters; without a value, a filter is none.
 * @param {Record<string, string | undefined>} changes
 * @param {{ replace?: boolean }} [how]
 */
export function filter(changes, how) {
  const query = Object.fromEntries(place.value.query);
  go(to(place.value.parts, { ...query, ...changes }), how);
}

// Links of the console's own are followed here.
addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest("a") : null;
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!target || !plain || event.defaultPrevented || target.target || target.hasAttribute("download")) return;
  if (target.origin === location.origin && target.pathname.startsWith(HOME)) {
    event.preventDefault();
    go(target.pathname + target.search);
    scrollTo(0, 0);
  }
});
