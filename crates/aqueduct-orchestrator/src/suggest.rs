//! "Did you mean": the nearest of the names that would have been right.

/// Gives the candidate that differs from `written` by the fewest edits, if that is few enough to be a slip.
///
/// An edit is a letter added, dropped, changed, or swapped with its neighbour (optimal string alignment, after
/// Damerau 1964, "A technique for computer detection and correction of spelling errors"). A third of the
/// letters may differ, at least one; beyond that a guess misleads more than it helps.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer names than this are not compared: the cost is the product of the lengths.
    const LETTERS_MAX: usize = 64;
    let wanted: Vec<char> = written.chars().take(LETTERS_MAX + 1).collect();
    if wanted.len() > LETTERS_MAX {
        return None;
    }
    let allowed = (wanted.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != written)
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().take(LETTERS_MAX + 1).collect();
            if letters.len() > LETTERS_MAX || letters.len().abs_diff(wanted.len()) > allowed {
                return None;
            }
            Some((edits(&wanted, &letters), candidate))
        })
        .filter(|(distance, candidate)| *distance <= allowed || candidate.eq_ignore_ascii_case(written))
        // The first of equals, so that the order of the candidates decides and not chance.
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the edits between two words. Three rows of the usual table are enough.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut next = vec![row + 1; right.len() + 1];
        for (column, other) in right.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            next[column + 1] = best;
        }
        before = std::mem::replace(&mut last, next);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_a_different_word_finds_nothing() {
        let names = ["passed", "failed", "path", "on_error"];
        assert_eq!(nearest("passd", names), Some("passed"));
        assert_eq!(nearest("psased", names), Some("passed"));
        assert_eq!(nearest("On_Error", names), Some("on_error"));
        assert_eq!(nearest("weight", names), None);
        assert_eq!(nearest("", names), None);
    }
}
