"""Publishers as their libraries' own documents show them: foreign.py NAME URL EXCHANGE TYPE DATA"""

import asyncio
import json
import sys
from datetime import datetime, timezone
from urllib.parse import urlparse

NAME, URL, EXCHANGE, TYPE, DATA = sys.argv[1:]
ENVELOPE = json.dumps({"event_type": TYPE, "data": json.loads(DATA)})


def kombu_compressed():
    from kombu import Connection, Producer

    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        producer = Producer(connection.channel(), auto_declare=False)
        producer.publish(json.loads(ENVELOPE), serializer="json", compression="gzip", exchange=EXCHANGE, routing_key=TYPE)


def faststream():
    from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange

    async def main():
        broker = RabbitBroker(URL)
        await broker.connect()
        exchange = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True, declare=False)
        await broker.publish(json.loads(ENVELOPE), exchange=exchange, routing_key=TYPE, persist=True, mandatory=True)
        await broker.stop()

    asyncio.run(main())


def rabbitpy():
    import rabbitpy

    with rabbitpy.Connection(URL) as connection, connection.channel() as channel:
        channel.enable_publisher_confirms()
        message = rabbitpy.Message(channel, json.loads(ENVELOPE), {"delivery_mode": 2})
        if not message.publish(EXCHANGE, TYPE, mandatory=True):
            sys.exit("not confirmed")


def amqpstorm():
    from amqpstorm import Connection

    at = urlparse(URL)
    with Connection(at.hostname, at.username, at.password, port=at.port) as connection, connection.channel() as channel:
        channel.confirm_deliveries()
        properties = {"message_type": TYPE, "delivery_mode": 2, "content_type": "application/json"}
        if not channel.basic.publish(DATA, TYPE, exchange=EXCHANGE, properties=properties, mandatory=True):
            sys.exit("not confirmed")


def cloudevent(name):
    from cloudevents.core.v1.event import CloudEvent

    attributes = {"type": TYPE, "source": "/shop", "id": name, "specversion": "1.0", "datacontenttype": "application/json"}
    return CloudEvent(attributes={**attributes, "time": datetime.now(timezone.utc)}, data=json.loads(DATA))


def with_pika(content_type, headers, body):
    import pika

    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(content_type=content_type, headers=headers, delivery_mode=2)
        channel.basic_publish(EXCHANGE, TYPE, body, properties, mandatory=True)


def cloudevents_amqp():
    from cloudevents.core.bindings.amqp import to_binary
    from cloudevents.core.formats.json import JSONFormat

    message = to_binary(cloudevent(NAME), JSONFormat())
    with_pika(message.properties.get("content-type"), message.application_properties, message.application_data)


def cloudevents_rabbitmq():
    from cloudevents.core.bindings.rabbitmq import to_binary
    from cloudevents.core.formats.json import JSONFormat

    message = to_binary(cloudevent(NAME), JSONFormat())
    with_pika(message.content_type, message.headers, message.body)


def cloudevents_structured():
    from cloudevents.core.bindings.rabbitmq import to_structured
    from cloudevents.core.formats.json import JSONFormat

    message = to_structured(cloudevent(NAME), JSONFormat())
    with_pika(message.content_type, message.headers, message.body)


globals()[NAME.replace("-", "_")]()
