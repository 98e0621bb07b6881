#!/usr/bin/env bash
# RabbitMQ 3.10.8 with its plugin rabbitmq_amqp1_0; npm rhea 3.0.5 publishes, npm amqplib 2.3.1 reads.
#
# An AMQP 1.0 message that crosses to AMQP 0-9-1 keeps its application properties, but not as headers: they come as one binary header,
# x-amqp-1.0-app-properties, still in AMQP 1.0 encoding. A consumer that looks for a header of that name finds none. The property `type`
# says "binary" of a body in one data section, and of several sections the body is their frames in the opposite order.
#
# Needs RabbitMQ 3.10.8 installed (Debian 12: rabbitmq-server), Node.js and npm. Exits with 1 when the behaviour is another, with 3 when
# the broker is.
set -euo pipefail
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || { echo "needs Debian 12's rabbitmq-server" >&2; exit 3; }
case $(readlink -f /usr/lib/rabbitmq/bin/rabbitmq-server) in *rabbitmq_server-3.10.8/*) ;; *) echo "needs RabbitMQ 3.10.8" >&2; exit 3 ;; esac
place=$(mktemp -d); port=$((20000 + RANDOM % 10000)); broker=
ended() { if [ -n "$broker" ]; then kill "$broker" 2>/dev/null && wait "$broker" || true; fi; [ -z "${mapper:-}" ] || kill "$mapper" 2>/dev/null || true; rm -rf "$place"; }
trap ended EXIT
cd "$place"
npm install --silent --no-audit --no-fund --no-package-lock rhea@3.0.5 amqplib@2.3.1
echo '[rabbitmq_amqp1_0].' >plugins
printf 'listeners.tcp.default = 127.0.0.1:%s\nlog.console = false\ndisk_free_limit.absolute = 50MB\n' "$port" >rabbitmq.conf
epmd -address 127.0.0.1 -port $((port + 2)) & mapper=$!
env HOME="$place" RABBITMQ_NODENAME="finding@localhost" RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT=$((port + 1)) RUNNING_UNDER_SYSTEMD=true \
  ERL_EPMD_PORT=$((port + 2)) RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false' RABBITMQ_MNESIA_BASE="$place/db" RABBITMQ_LOG_BASE="$place/log" \
  RABBITMQ_PID_FILE="$place/pid" RABBITMQ_ENABLED_PLUGINS_FILE="$place/plugins" RABBITMQ_CONFIG_FILE="$place/rabbitmq" \
  /usr/lib/rabbitmq/bin/rabbitmq-server >out 2>&1 & broker=$!
cat >look.cjs <<'J'
const rhea = require("rhea"), amqp = require("amqplib"), port = Number(process.argv[2]);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  let reader;
  for (let tries = 0; !reader; tries++) {
    reader = await amqp.connect(`amqp://guest:guest@127.0.0.1:${port}`).catch(() => undefined);
    if (tries > 120) throw new Error("the broker does not start");
    if (!reader) await wait(500);
  }
  const channel = await reader.createChannel();
  await channel.assertQueue("look");
  const connection = rhea.connect({ host: "127.0.0.1", port, username: "guest", password: "guest", reconnect: false });
  const sender = connection.open_sender({ target: { address: "/amq/queue/look" } });
  await new Promise((ready) => sender.once("sendable", ready));
  const { data_section, data_sections } = rhea.message;
  const application_properties = { tenant: "acme" };
  sender.send({ body: data_section(Buffer.from("one")), application_properties });
  sender.send({ body: data_sections([Buffer.from("one"), Buffer.from("two")]), application_properties });
  await new Promise((accepted) => { let left = 2; sender.on("accepted", () => --left || accepted()); });
  const seen = [];
  for (let message; seen.length < 2; ) {
    message = await channel.get("look", { noAck: true });
    if (!message) { await wait(50); continue; }
    const { headers, type } = message.properties;
    const encoded = headers["x-amqp-1.0-app-properties"];
    seen.push({ tenant: headers.tenant ?? null, encoded: encoded !== undefined && String(encoded).includes("tenant"), type, body: message.content.toString("latin1") });
  }
  console.log(JSON.stringify(seen, null, 1));
  const [one, two] = seen;
  const same = one.tenant === null && one.encoded && one.type === "binary" && one.body === "one"
    && two.type === "amqp-1.0" && two.body === "\0Su\xa0\x03two\0Su\xa0\x03one";
  process.exit(same ? 0 : 1);
})().catch((error) => { console.error(error); process.exit(1); });
J
node look.cjs "$port"
# Seen (November 2026):
# [{"tenant": null, "encoded": true, "type": "binary", "body": "one"},
#  {"tenant": null, "encoded": true, "type": "amqp-1.0", "body": "\u0000Su \u0003two\u0000Su \u0003one"}]
