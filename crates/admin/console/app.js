// @ts-check
/** The console: who is signed in sees the screens. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { look, session } from "./lib/api.js";
import { html } from "./lib/html.js";
import { applyTheme } from "./lib/theme.js";
import { Notice, Trouble } from "./lib/ui.js";
import { Shell } from "./screens/shell.js";
import { SignIn, signInByLink } from "./screens/sign-in.js";

function Console() {
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const begin = () => {
    setError(null);
    signInByLink().then((signedIn) => (signedIn ? undefined : look())).catch(setError);
  };
  useEffect(() => {
    begin();
    addEventListener("hashchange", begin);
    return () => removeEventListener("hashchange", begin);
  }, []);
  if (error) return html`<main class="alone"><${Trouble} error=${error} retry=${begin} /></main>`;
  if (session.value === undefined) return html`<main class="alone"><p role="status">Loading…</p></main>`;
  return html`${session.value ? html`<${Shell} />` : html`<${SignIn} />`}<${Notice} />`;
}

applyTheme();
const root = document.getElementById("root");
if (root) render(html`<${Console} />`, root);
