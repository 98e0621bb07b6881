//! The promises, end to end, on a real broker and a real store: one file per promise.

#![expect(clippy::disallowed_methods, reason = "tests start what they like: what panics fails them")]

/// Each of these promises as a test on both backends, by the same code.
macro_rules! on_both_backends {
    ($($test:ident;)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() -> anyhow::Result<()> {
                super::$test(hookyard_e2e::Backend::Embedded).await
            })*
        }
        mod on_rabbitmq_and_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() -> anyhow::Result<()> {
                super::$test(hookyard_e2e::Backend::Cluster).await
            })*
        }
    };
}

mod a_bad_neighbour_does_not_matter;
mod a_change_takes_effect_at_once;
mod a_directory_that_went_back_in_time;
mod a_process_that_lost_a_root_task_ends;
mod a_repeated_request_is_done_once;
mod a_trace_goes_from_publish_to_attempt;
mod an_error_rate_costs_no_deliveries;
mod answers_fit_the_published_description;
mod any_content_header_leaves_intake_alive;
mod bad_input_is_answered_and_nothing_is_lost;
mod brokers_keep_what_we_stand_on;
mod conformance_rabbit;
mod conformance_redis;
mod counters_equal_the_ledgers;
mod dead_letters_are_replayed_once;
mod events_reach_exactly_the_endpoints_the_rule_names;
mod faults_lose_nothing;
mod management;
mod no_message_stops_intake;
mod no_secret_is_in_the_logs;
mod official_clients_work_unchanged;
mod older_clients_are_understood;
mod one_process_is_a_whole_service;
mod one_process_survives_crashes;
mod pages_of_other_origins;
mod publishers_in_the_world;
mod ready_means_that_the_next_request_works;
mod receivers_in_the_world;
mod replicas_come_and_go;
mod requests_have_limits;
mod requests_leave_by_the_operators_door;
mod retries_end_in_delivery_or_dead_letter;
mod the_activity_is_streamed;
mod the_catalog_describes_event_types;
mod the_catalog_rules_what_is_published;
mod the_command_line_reaches_everything;
mod the_console_works_in_a_browser;
mod the_dataset_is_never_taken_for_empty;
mod the_demonstration_proves_itself;
mod the_doctor_finds_what_is_wrong;
mod the_installation_shows_itself;
mod the_journal_survives_the_store;
mod the_reference_is_true;
mod tokens_open_what_their_scope_says;
mod what_did_not_arrive_is_handled_from_the_command_line;
mod what_happened_is_counted_over_time;
mod what_happened_is_shown_and_done_again;
mod what_happens_here_is_told;
