#!/bin/sh
# Publishes one event with amqp-publish of librabbitmq: amqp-publish.sh URL EXCHANGE TYPE DATA
#
# It knows neither a type nor an id nor confirms: only envelopes can be sent, and its success says that the event was written to the
# connection. For trying things out.
set -eu
printf '{"event_type": "%s", "data": %s}' "$3" "$4" | amqp-publish --url="$1" --exchange="$2" --routing-key="$3" --persistent
