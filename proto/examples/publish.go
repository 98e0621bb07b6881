// Publishes one event with amqp091-go and waits for the confirm: publish URL EXCHANGE TYPE DATA [ID]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func publish(url, exchange, eventType, data, id string) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	// What no queue takes comes back before it is confirmed.
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmed := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	message := amqp.Publishing{
		Type:         eventType,
		MessageId:    id,
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		Timestamp:    time.Now(),
		Body:         []byte(data),
	}
	if err := channel.PublishWithContext(ctx, exchange, eventType, true, false, message); err != nil {
		return err
	}
	select {
	case confirmation := <-confirmed:
		if !confirmation.Ack {
			return fmt.Errorf("refused by the broker (nack)")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-returned:
		return fmt.Errorf("returned: exchange %s has no queue for it", exchange)
	default:
		return nil
	}
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: publish URL EXCHANGE TYPE DATA [ID]")
		os.Exit(2)
	}
	id := fmt.Sprintf("%d", time.Now().UnixNano())
	if len(os.Args) > 5 {
		id = os.Args[5]
	}
	if err := publish(os.Args[1], os.Args[2], os.Args[3], os.Args[4], id); err != nil {
		fmt.Fprintln(os.Stderr, "not confirmed:", err)
		os.Exit(1)
	}
}
