//! What every backend promises, a test for each promise. A new backend joins with a `Place` and one line below.

mod checkpoints;
mod claims;
mod commits;
mod dead_letters;
pub(crate) mod epoch;
mod fencing;
mod journal;
mod reopening;
mod state;
mod tables;

/// Runs every test on every backend.
macro_rules! conformance {
    ($($subject:ident: $($promise:ident)*;)*) => {
        conformance!(@on memory, crate::place::Memory::fresh(), $($subject: $($promise)*;)*);
        conformance!(@on sqlite, crate::place::Sqlite::fresh(), $($subject: $($promise)*;)*);
    };
    (@on $backend:ident, $place:expr, $($subject:ident: $($promise:ident)*;)*) => {
        mod $backend {
            $(mod $subject {
                $(#[tokio::test]
                async fn $promise() {
                    crate::conformance::$subject::$promise(&$place).await;
                })*
            })*
        }
    };
}

conformance! {
    fencing:
        the_newest_claim_fences_off_every_older_run
        a_pipeline_that_was_never_claimed_takes_no_write
        pipelines_in_one_store_do_not_see_each_other;
    claims:
        partitions_keep_the_number_of_their_first_sight
        a_partition_named_twice_is_one_partition
        another_configuration_starts_a_generation
        a_claim_starts_a_run_and_finish_ends_it
        a_forgotten_pipeline_starts_over_and_its_rows_stay;
    commits:
        a_commit_moves_position_and_revision
        a_repeated_commit_changes_nothing
        a_stale_revision_is_a_conflict
        an_unknown_partition_is_a_conflict
        several_partitions_move_together_or_not_at_all
        a_refused_row_takes_the_whole_epoch_back
        a_refused_table_takes_the_whole_epoch_back
        a_missing_table_takes_the_whole_epoch_back
        the_store_goes_on_after_a_refused_epoch
        counts_add_up_over_epochs_and_runs
        file_marks_replace_earlier_ones
        an_epoch_of_any_size_is_written_whole
        what_was_in_flight_lands_or_is_abandoned
        a_table_of_our_own_takes_new_columns_where_that_is_asked;
    tables:
        values_are_kept_exactly
        what_is_not_a_number_is_kept_as_nothing
        any_name_is_a_name
        a_row_with_the_same_item_is_refused
        a_row_with_the_same_item_replaces_where_that_is_asked
        a_row_with_the_same_key_replaces_and_the_last_one_wins
        a_row_without_its_key_is_refused
        a_table_with_the_same_columns_is_adopted_in_any_order
        a_table_with_other_columns_is_refused_by_name
        a_table_whose_key_is_not_unique_is_refused
        the_ledgers_own_names_are_refused
        a_table_tells_what_it_is;
    dead_letters:
        letters_come_back_whole_and_in_the_order_of_their_ids
        letters_are_read_page_by_page
        letters_are_filtered_by_stage_and_item
        one_item_may_fail_in_two_places
        a_letter_of_the_same_item_and_stage_replaces_the_earlier_one
        a_refused_epoch_leaves_no_letter
        letters_are_filtered_by_class_reason_and_time
        an_edit_changes_the_payload_and_nothing_else
        a_purge_removes_what_it_is_told_page_by_page
        retention_removes_the_oldest_letters
        retention_counts_every_way_in_which_letters_come_and_go
        a_replay_takes_its_letters_away;
    journal:
        entries_last_until_a_commit_consumes_them
        an_entry_for_the_same_call_replaces_the_earlier_one
        a_refused_epoch_consumes_nothing
        a_commit_consumes_only_what_it_names;
    state:
        state_is_set_replaced_and_removed
        of_two_changes_of_one_key_the_last_holds
        a_refused_epoch_leaves_the_state_alone;
    checkpoints:
        a_checkpoint_holds_what_is_true_after_its_epoch
        only_so_many_checkpoints_are_kept
        a_checkpoint_of_the_same_name_replaces_the_earlier_one
        old_checkpoints_go_and_the_newest_stays
        going_back_makes_everything_as_it_was
        going_back_is_fenced;
    reopening:
        a_reopened_store_reads_the_same;
}
