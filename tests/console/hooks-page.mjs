// A customer's page in another company's application, made of the official client's React hooks: it adds an endpoint, then shows what
// each hook says of it.
import { createElement, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import * as hooks from "svix-react";

const { token, app, serverUrl, receiver } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** What a hook says, once it says something. */
function Said({ name, by }) {
  const { data, error } = by;
  return createElement("pre", { id: name, "data-is-said": Boolean(data || error) }, error ? `error: ${error.message}` : JSON.stringify(data));
}

function OfMessage({ message }) {
  const of = {
    useMessage: hooks.useMessage(message.id),
    useMessageAttempts: hooks.useMessageAttempts(message.id),
    useMessageEndpoints: hooks.useMessageEndpoints(message.id),
  };
  return Object.entries(of).map(([name, by]) => createElement(Said, { key: name, name, by }));
}

function OfEndpoint({ id }) {
  const messages = hooks.useMessages();
  const headers = hooks.useEndpointHeaders(id);
  const of = {
    useEndpoints: hooks.useEndpoints(),
    useEndpoint: hooks.useEndpoint(id),
    useEndpointSecret: hooks.useEndpointSecret(id),
    useEndpointHeaders: headers,
    useEndpointStats: hooks.useEndpointStats(id),
    useEndpointMessageAttempts: hooks.useEndpointMessageAttempts(id),
    useAttemptedMessages: hooks.useAttemptedMessages(id),
    useEventTypes: hooks.useEventTypes(),
    useMessages: messages,
  };
  const reload = () => Object.values(of).forEach((by) => by.reload());
  return [
    ...Object.entries(of).map(([name, by]) => createElement(Said, { key: name, name, by })),
    ...(messages.data ?? []).slice(0, 1).map((message) => createElement(OfMessage, { key: message.id, message })),
    createElement("button", { key: "reload", onClick: reload }, "Reload"),
  ];
}

function Page() {
  const [id, setId] = useState();
  const { url, createEndpoint } = hooks.useNewEndpoint();
  useEffect(() => url.setValue(receiver), []);
  const add = async () => {
    const { endpoint, error } = await createEndpoint();
    if (error) throw error;
    setId(endpoint.id);
  };
  return id ? createElement(OfEndpoint, { id }) : createElement("button", { onClick: add }, "Add");
}

const options = { serverUrl };
createRoot(document.body.appendChild(document.createElement("main"))).render(
  createElement(hooks.SvixProvider, { token, appId: app, options }, createElement(Page)),
);
