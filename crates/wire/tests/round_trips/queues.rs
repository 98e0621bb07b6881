//! Messages between our own roles, and records that stores keep whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hookyard_core::Delivery;
use hookyard_core::event::admit;
use hookyard_wire::form::{self, Given, Published};
use hookyard_wire::{queue, record};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::arbitrary::{
    GENEROUS, NOW, attempt_record, dead_letter, dead_reason, delivery, entry, event, message, message_record,
};

proptest! {
    #[test]
    fn an_accepted_event_keeps_its_identity_whatever_its_properties_say(event in event(), id in option::of("[a-z]{1,9}")) {
        let text = Given::Text("other".to_owned());
        let published = Published {
            content_type: Some(Given::Text(queue::ACCEPTED_CONTENT_TYPE.to_owned())),
            message_id: id.map(Given::Text),
            message_type: Some(text.clone()),
            timestamp: Some(Given::Seconds(1)),
            headers: BTreeMap::from(
                [form::APP_HEADER, form::CHANNELS_HEADER, "traceparent", "cloudEvents_id"].map(|name| (name.to_owned(), text.clone())),
            ),
            routing_key: Some(text),
            body: queue::write_accepted(&event),
            ..Published::default()
        };
        let read = form::read(published, 1_000).expect("readable");
        prop_assert_eq!(admit(read, &GENEROUS, NOW), Ok(event));
    }

    #[test]
    fn a_delivery_comes_back_the_same(delivery in delivery(), dead in option::of(dead_reason())) {
        let bytes = queue::write_delivery(&delivery, dead);
        prop_assert_eq!(queue::read_delivery(bytes).expect("readable"), (delivery, dead));
    }

    #[test]
    fn deliveries_that_share_a_message_are_written_as_if_alone(message in message(), several in vec(delivery(), 1..4)) {
        let writer = queue::DeliveryWriter::new(&message);
        let message = Arc::new(message);
        for delivery in several {
            let delivery = Delivery { message: Arc::clone(&message), ..delivery };
            prop_assert_eq!(writer.write(&delivery, None), queue::write_delivery(&delivery, None));
        }
    }

    #[test]
    fn deliveries_that_wait_as_one_come_back_each_as_it_was(several in vec(delivery(), 0..5)) {
        let written: Vec<Bytes> = several.iter().map(|delivery| queue::write_delivery(delivery, None)).collect();
        let read = queue::read_deliveries(queue::write_deliveries(written)).expect("readable");
        let read: Vec<Delivery> = read.into_iter().map(|one| queue::read_delivery(one).expect("readable").0).collect();
        prop_assert_eq!(read, several);
    }

    #[test]
    fn journal_entries_come_back_in_order(entries in vec(entry(), 0..6)) {
        prop_assert_eq!(queue::read_entries(queue::write_entries(&entries)).expect("readable"), entries);
    }

    #[test]
    fn a_message_record_comes_back_the_same(message in message_record()) {
        prop_assert_eq!(record::read_message(record::write_message(&message).into()).expect("readable"), message);
    }

    #[test]
    fn an_attempt_record_comes_back_the_same(attempt in attempt_record()) {
        prop_assert_eq!(record::read_attempt(record::write_attempt(&attempt).into()).expect("readable"), attempt);
    }

    #[test]
    fn a_dead_letter_comes_back_the_same(letter in dead_letter()) {
        prop_assert_eq!(record::read_dead_letter(&record::write_dead_letter(&letter)).expect("readable"), letter);
    }

    #[test]
    fn a_cut_or_changed_delivery_is_unreadable_or_another_one_and_never_a_panic(
        delivery in delivery(),
        at: proptest::sample::Index,
        byte: u8,
    ) {
        let whole = queue::write_delivery(&delivery, None);
        let at = at.index(whole.len());
        let mut changed = whole.to_vec();
        changed[at] = byte;
        for damaged in [whole.slice(..at), Bytes::from(changed)] {
            if let Ok((read, dead)) = queue::read_delivery(damaged) {
                let again = queue::read_delivery(queue::write_delivery(&read, dead)).expect("readable");
                prop_assert_eq!(again, (read, dead));
            }
        }
    }
}
