#!/usr/bin/env python3
"""Publishes one event to Hookyard and waits until the broker has confirmed it. Needs pika (pip install pika).

    publish.py amqp://guest:guest@localhost:5672/%2f hookyard.events order.paid '{"order": 4711}' --app acme

DATA is text, @FILE, or - for standard input. Prints the event id. Exits with 0 only if the event was confirmed; otherwise with 1
(2 for wrong arguments). What was not confirmed may have arrived all the same: publish it again with the same --id, and it is
recognised.
"""

import argparse
import json
import sys
import time
import uuid

import pika
from pika.exceptions import AMQPError, NackError, UnroutableError


def arguments():
    description, _, epilog = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="amqp://user:password@host:port/vhost, or amqps://")
    parser.add_argument("exchange", help="hookyard.events, unless the deployment has another prefix")
    parser.add_argument("type", help="event type")
    parser.add_argument("data", help="JSON or text: itself, @FILE, or - for standard input")
    parser.add_argument("--id", default=str(uuid.uuid4()), help="event id (default: a new one)")
    parser.add_argument("--app", help="application, by uid or id (default: the application named default)")
    parser.add_argument("--channels", default="", help="channels, separated by commas")
    parser.add_argument("--form", choices=["raw", "envelope", "cloudevents"], default="raw")
    parser.add_argument("--source", default="urn:example:publish", help="source of a CloudEvent, part of its id")
    args = parser.parse_args()
    if not args.url.startswith(("amqp://", "amqps://")):
        parser.error("the URL must begin with amqp:// or amqps://")
    return args


def read(data):
    if data == "-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        with open(data[1:], "rb") as file:
            return file.read()
    return data.encode()


def json_text(data):
    """The data as JSON text, or nothing if it is not JSON."""
    try:
        text = data.decode().strip()
        json.loads(text)
        return text
    except ValueError:
        return None


def with_data(fields, text):
    """A JSON object of the fields and the data. The data is put in as it is written: parsing it could change its numbers."""
    present = {name: value for name, value in fields.items() if value}
    return (json.dumps(present)[:-1] + ', "data": ' + text + "}").encode()


def raw(args, data):
    """The data is the body; everything else is in properties and headers."""
    headers = {"hookyard-app": args.app, "hookyard-channels": args.channels}
    properties = pika.BasicProperties(
        content_type="application/json" if json_text(data) is not None else "text/plain",
        type=args.type,
        message_id=args.id,
        timestamp=int(time.time()),
        headers={name: value for name, value in headers.items() if value},
    )
    return args.id, properties, data


def envelope(args, data):
    """One JSON object holds everything."""
    text = json_text(data)
    if text is None:
        sys.exit("not published: the data of an envelope must be JSON")
    channels = [channel.strip() for channel in args.channels.split(",") if channel.strip()]
    fields = {"event_type": args.type, "event_id": args.id, "app": args.app, "channels": channels}
    return args.id, pika.BasicProperties(content_type="application/json"), with_data(fields, text)


def cloudevents(args, data):
    """CloudEvents 1.0 in structured mode. What identifies it is its source and its id together."""
    text = json_text(data)
    fields = {
        "specversion": "1.0",
        "id": args.id,
        "source": args.source,
        "type": args.type,
        "datacontenttype": "application/json" if text is not None else "text/plain",
        "hookyardapp": args.app,
        "hookyardchannels": args.channels,
    }
    body = with_data(fields, text if text is not None else json.dumps(data.decode()))
    return f"{args.source} {args.id}", pika.BasicProperties(content_type="application/cloudevents+json"), body


def publish(args, properties, body):
    properties.delivery_mode = pika.DeliveryMode.Persistent.value
    parameters = pika.URLParameters(args.url)
    # A broker that is short of memory or disk blocks publishers: give up rather than wait for ever.
    parameters.blocked_connection_timeout = 30
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        # From here on, basic_publish waits for the confirm and raises if the message came back or was refused.
        channel.confirm_delivery()
        # AMQP allows routing keys of 255 bytes; the type itself is in the message.
        channel.basic_publish(args.exchange, args.type[:255], body, properties, mandatory=True)
    finally:
        if connection.is_open:
            connection.close()


def main():
    args = arguments()
    try:
        event_id, properties, body = {"raw": raw, "envelope": envelope, "cloudevents": cloudevents}[args.form](args, read(args.data))
        publish(args, properties, body)
    except UnroutableError:
        sys.exit(f"not published: returned by the broker, exchange {args.exchange} has no queue for it")
    except NackError:
        sys.exit(f"not published: refused by the broker (nack); try again with --id {args.id}")
    except (AMQPError, OSError, ValueError) as error:
        sys.exit(f"not confirmed: {error!r}; try again with --id {args.id}")
    print(event_id)


if __name__ == "__main__":
    main()
