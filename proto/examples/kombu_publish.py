#!/usr/bin/env python3
"""Publishes one event with Kombu, on which Celery stands, and waits for the confirm: kombu_publish.py URL EXCHANGE TYPE DATA [ID]"""

import sys
import uuid

from kombu import Connection, Producer


def main(url, exchange, event_type, data, event_id=None):
    # Otherwise publish returns before the broker has the event.
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = Producer(connection.channel(), auto_declare=False)
        producer.publish(
            data.encode(),
            exchange=exchange,
            routing_key=event_type,
            type=event_type,
            message_id=event_id or str(uuid.uuid4()),
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            mandatory=True,
        )


main(*sys.argv[1:])
