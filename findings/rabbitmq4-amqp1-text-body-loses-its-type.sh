#!/usr/bin/env bash
# RabbitMQ 4.0.5 (Debian 13), AMQP 1.0 to AMQP 0-9-1; npm rhea 3.0.5 publishes, npm amqplib 2.3.1 reads.
#
# The annotation x-basic-type becomes the property `type` of a message whose body is a data section. Of the same message with a text as
# body it is lost: `type` is then "amqp-1.0", the broker's mark for a body that still has AMQP 1.0 framing. And a message id that is
# binary and no text becomes no message_id at all but a header, x-message-id.
#
# Needs root on a Debian (debootstrap puts the broker's release into a temporary folder), Node.js and npm. Exits with 1 when the behaviour
# is another.
set -euo pipefail
place=$(mktemp -d); root=$place/root; port=$((20000 + RANDOM % 10000)); broker=
ended() { if [ -n "$broker" ]; then kill "$broker" 2>/dev/null && wait "$broker" || true; fi; [ -z "${mapper:-}" ] || kill "$mapper" 2>/dev/null || true; umount -l "$root/proc" "$root/dev" 2>/dev/null || true; rm -rf --one-file-system "$place"; }
trap ended EXIT
cd "$place"
npm install --silent --no-audit --no-fund --no-package-lock rhea@3.0.5 amqplib@2.3.1
mirror=$(grep -hm1 -E '^URIs:' /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '{print $2}' | grep . || awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list)
debootstrap --variant=minbase --include=rabbitmq-server trixie "$root" "$mirror" >debootstrap.log 2>&1
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"; mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
mkdir -p "$root/srv/b"; echo '[].' >"$root/srv/b/plugins"
printf 'listeners.tcp.default = 127.0.0.1:%s\nlog.console = false\ndisk_free_limit.absolute = 50MB\n' "$port" >"$root/srv/b/rabbitmq.conf"
chroot "$root" /usr/bin/epmd -address 127.0.0.1 -port $((port + 2)) & mapper=$!
chroot "$root" env HOME=/srv/b RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false' RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT=$((port + 1)) ERL_EPMD_PORT=$((port + 2)) \
  RUNNING_UNDER_SYSTEMD=true RABBITMQ_MNESIA_BASE=/srv/b/db RABBITMQ_LOG_BASE=/srv/b/log RABBITMQ_PID_FILE=/srv/b/pid \
  RABBITMQ_ENABLED_PLUGINS_FILE=/srv/b/plugins RABBITMQ_CONFIG_FILE=/srv/b/rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server >out 2>&1 & broker=$!
echo "RabbitMQ $(chroot "$root" dpkg-query -W -f '${Version}' rabbitmq-server)"
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
  await channel.assertQueue("look", { arguments: { "x-queue-type": "quorum" } });
  const connection = rhea.connect({ host: "127.0.0.1", port, username: "guest", password: "guest", reconnect: false });
  const sender = connection.open_sender({ target: { address: "/queues/look" } });
  await new Promise((ready) => sender.once("sendable", ready));
  const message_annotations = { "x-basic-type": "order.paid" };
  const binary = rhea.types.wrap_binary(Buffer.from([0xff, 1]));
  sender.send({ durable: true, body: rhea.message.data_section(Buffer.from("one")), message_annotations, message_id: "id" });
  sender.send({ durable: true, body: "one", message_annotations, message_id: binary });
  await new Promise((accepted) => { let left = 2; sender.on("accepted", () => --left || accepted()); });
  const seen = [];
  while (seen.length < 2) {
    const message = await channel.get("look", { noAck: true });
    if (!message) { await wait(50); continue; }
    const { headers, type, messageId } = message.properties;
    seen.push({ type, messageId: messageId ?? null, header: headers?.["x-message-id"]?.toString("hex") ?? null, body: message.content.toString("latin1") });
  }
  console.log(JSON.stringify(seen, null, 1));
  const [data, text] = seen;
  const same = data.type === "order.paid" && data.messageId === "id" && data.body === "one"
    && text.type === "amqp-1.0" && text.messageId === null && text.header === "ff01" && text.body === "\0Sw\xa1\x03one";
  process.exit(same ? 0 : 1);
})().catch((error) => { console.error(error); process.exit(1); });
J
node look.cjs "$port"
# Seen (November 2026), RabbitMQ 4.0.5-6+deb13u2:
# [{"type": "order.paid", "messageId": "id", "header": null, "body": "one"},
#  {"type": "amqp-1.0", "messageId": null, "header": "ff01", "body": "\u0000Sw¡\u0003one"}]
