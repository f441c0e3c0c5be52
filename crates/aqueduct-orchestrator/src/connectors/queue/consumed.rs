use std::collections::BTreeSet;

/// The numbers of messages, as a position holds them: `3-7,12` has five and one.
///
/// A queue hands messages out in an order of its own and gives some twice, so how far it is read is a set. It is small:
/// it has what was committed and is not known to be gone.
pub(super) fn written(numbers: &BTreeSet<u64>) -> String {
    let mut text = String::new();
    let mut rest = numbers.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > first {
            text.push('-');
            text.push_str(&last.to_string());
        }
    }
    text
}

/// What was [`written`]; `None` for what was not.
pub(super) fn read(text: &str) -> Option<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        // What a window can hold; a text that says more was not written by us.
        if first > last || last - first > 100_000_000 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_as_short_as_they_can_be() {
        let check = |numbers: &[u64], text: &str| {
            let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
            assert_eq!(written(&numbers), text);
            assert_eq!(read(text), Some(numbers));
        };
        check(&[], "");
        check(&[1], "1");
        check(&[1, 2, 3, 5, 7, 8], "1-3,5,7-8");
        for wrong in ["x", "1-", "-1", "2-1", "1,x", "0-18446744073709551615"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in prop::collection::btree_set(0_u64..300, 0..200)) {
            prop_assert_eq!(read(&written(&numbers)), Some(numbers));
        }
    }
}
