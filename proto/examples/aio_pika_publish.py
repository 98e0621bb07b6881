#!/usr/bin/env python3
"""Publishes one event with aio-pika and waits for the confirm: aio_pika_publish.py URL EXCHANGE TYPE DATA [ID]"""

import asyncio
import sys
import uuid

import aio_pika


async def main(url, exchange, event_type, data, event_id=None):
    connection = await aio_pika.connect(url)
    async with connection:
        # Confirms are on: publish returns when the broker has the event, and raises when it came back.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        # Hookyard declares its exchange; asking for it changes nothing.
        events = await channel.get_exchange(exchange, ensure=False)
        message = aio_pika.Message(
            data.encode(),
            type=event_type,
            content_type="application/json",
            # Without one, aio-pika makes another at every publish, and a repeated publish is another event.
            message_id=event_id or str(uuid.uuid4()),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await events.publish(message, routing_key=event_type, mandatory=True)


asyncio.run(main(*sys.argv[1:]))
