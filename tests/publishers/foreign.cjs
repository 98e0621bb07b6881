// Publishers as their libraries' own documents show them: foreign.cjs NAME URL EXCHANGE TYPE DATA
const [name, url, exchange, type, data] = process.argv.slice(2);
const envelope = { event_type: type, data: JSON.parse(data) };

async function withRabbitmqClient(body, options) {
  const { Connection } = require("rabbitmq-client");
  const rabbit = new Connection(url);
  const publisher = rabbit.createPublisher({ confirm: true });
  await publisher.send({ exchange, routingKey: type, durable: true, mandatory: true, ...options }, body);
  await publisher.close();
  await rabbit.close();
}

function cloudevent() {
  const { CloudEvent } = require("cloudevents");
  return new CloudEvent({ type, source: "/shop", id: name, datacontenttype: "application/json", data: JSON.parse(data) });
}

async function withAmqplib(body, options) {
  const connection = await require("amqplib").connect(url);
  const channel = await connection.createConfirmChannel();
  channel.publish(exchange, type, body, { persistent: true, mandatory: true, ...options });
  await channel.waitForConfirms();
  await connection.close();
}

const publishers = {
  amqplib: () => withAmqplib(Buffer.from(data), { type, contentType: "application/json" }),
  "rabbitmq-client": () => withRabbitmqClient(envelope),
  // Its content type is replaced by application/json, because the body is an object.
  "rabbitmq-client-cloudevent": () =>
    withRabbitmqClient(cloudevent().toJSON(), { contentType: "application/cloudevents+json" }),
  cloudevents: () => {
    const { HTTP } = require("cloudevents");
    const message = HTTP.structured(cloudevent());
    return withAmqplib(Buffer.from(message.body), { contentType: message.headers["content-type"] });
  },
  "amqp-client": async () => {
    const { AMQPClient } = require("@cloudamqp/amqp-client");
    const connection = await new AMQPClient(url).connect();
    const channel = await connection.channel();
    await channel.confirmSelect();
    await channel.basicPublish(exchange, type, data, { type, deliveryMode: 2, contentType: "application/json" }, true);
    await connection.close();
  },
};

publishers[name]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
