// @ts-check
/** Signing in with a token. */
import { useState } from "preact/hooks";
import { session, signIn } from "../lib/api.js";
import { html } from "../lib/html.js";
import { go } from "../lib/route.js";
import { Heading, TextField } from "../lib/ui.js";

/** A link into a portal has its token behind the hash, which no server sees; it is gone from the address at once. */
export async function signInByLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  go(`${location.pathname}${location.search}`, { replace: true });
  try {
    await signIn(token);
  } catch (problem) {
    session.value = null;
    throw new Error(`This link does not open the console: ${/** @type {Error} */ (problem).message}.`);
  }
  return true;
}

export function SignIn() {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setError("");
    try {
      await signIn(token);
    } catch (problem) {
      setError(/** @type {Error} */ (problem).message);
    }
  };
  return html`<main class="alone">
    <form class="card" onSubmit=${submit}>
      <${Heading} title="Sign in" />
      <${TextField} label="Token" type="password" value=${token} onInput=${setToken} error=${error} required
        hint=${html`Made by <code>hookyard token create --scope admin</code>, or for one application with <code>app:…</code>.`} />
      <button type="submit" class="primary" disabled=${!token.trim()}>Sign in</button>
    </form>
  </main>`;
}
