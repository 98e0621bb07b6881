// @ts-check
/** Light or dark: as the system has it, until somebody says otherwise. */
import { signal } from "@preact/signals";

const KEY = "hookyard-theme";

/** `light`, `dark`, or nothing for the system's. */
export const theme = signal(localStorage.getItem(KEY) ?? "");

export function applyTheme() {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
}

export function switchTheme() {
  const isDark = theme.value ? theme.value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme.value = isDark ? "light" : "dark";
  localStorage.setItem(KEY, theme.value);
  applyTheme();
}
