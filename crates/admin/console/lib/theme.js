// @ts-check
/** Light or dark: as the system has it, until somebody says otherwise. */
import { computed, signal } from "@preact/signals";

const KEY = "hookyard-theme";

/** `light`, `dark`, or nothing for the system's. */
export const theme = signal(localStorage.getItem(KEY) ?? "");

const system = matchMedia("(prefers-color-scheme: dark)");
const isSystemDark = signal(system.matches);
system.addEventListener("change", () => { isSystemDark.value = system.matches; });

/** What is drawn with: for what the style sheet does not reach. */
export const isDark = computed(() => (theme.value ? theme.value === "dark" : isSystemDark.value));

export function applyTheme() {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
}

export function switchTheme() {
  theme.value = isDark.value ? "light" : "dark";
  localStorage.setItem(KEY, theme.value);
  applyTheme();
}
