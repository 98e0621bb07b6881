// @ts-check
/** How receivers verify what they get, with the libraries of the Standard Webhooks project. */

/** @type {[string, string][]} */
export const snippets = [
  ["Python", `from standardwebhooks import Webhook

def receive(request):
    data = Webhook("whsec_…").verify(request.body, request.headers)`],
  ["Node.js", `import { Webhook } from "standardwebhooks";

const data = new Webhook("whsec_…").verify(rawBody, request.headers);`],
  ["Rust", `let webhook = standardwebhooks::Webhook::new("whsec_…")?;
webhook.verify(&body, &headers)?;`],
  ["Shell", `# v1 signs "id.timestamp.body" with the secret's bytes, which are base64 behind whsec_.
key=$(printf %s "$SECRET" | sed 's/^whsec_//' | base64 -d | xxd -p -c 0)
printf %s "$ID.$TIMESTAMP.$BODY" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary | base64`],
];
