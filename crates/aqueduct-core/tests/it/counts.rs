use aqueduct_core::Counts;

#[test]
fn a_ledger_with_everything_accounted_for_balances() {
    let counts =
        Counts { read: 10, spawned: 2, delivered: 9, dead_lettered: 1, skipped: 2, ..Counts::default() };
    assert_eq!(counts.check(), Ok(()));
}

#[test]
fn a_lost_item_and_a_doubled_one_both_break_the_balance() {
    let lost = Counts { read: 10, delivered: 9, ..Counts::default() };
    let doubled = Counts { read: 10, delivered: 11, ..Counts::default() };
    assert!(lost.check().is_err());
    let message = doubled.check().unwrap_err().to_string();
    assert!(
        message.starts_with("the ledger does not balance (10 in, 11 accounted for): read 10 +"),
        "{message}"
    );
}
