//! The promises, end to end, on a real broker and a real store: one file per promise.

mod bad_input_is_answered_and_nothing_is_lost;
mod conformance_rabbit;
mod conformance_redis;
mod events_reach_exactly_the_endpoints_the_rule_names;
mod faults_lose_nothing;
mod management;
mod one_process_is_a_whole_service;
mod one_process_survives_crashes;
mod retries_end_in_delivery_or_dead_letter;
mod the_dataset_is_never_taken_for_empty;
mod the_journal_survives_the_store;
