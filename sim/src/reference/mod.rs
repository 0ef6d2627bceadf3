//! The expected results of a job, computed independently: one record after the other, with vectors and ordered maps.
//!
//! Nothing here calls the engine: not its operators, not its state, not its arithmetic of time, not its CSV parser. The two share only the user's functions
//! and the plan of the job. The reference is meant to be slow and obvious.

pub mod calendar;
pub mod csv;
pub mod elements;
pub mod flights;
pub mod lateness;

use std::collections::BTreeMap;

/// How often each value occurs.
pub type Multiset<T> = BTreeMap<T, usize>;

/// Counts `values`.
pub fn multiset<T: Ord>(values: impl IntoIterator<Item = T>) -> Multiset<T> {
    let mut counts = Multiset::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// `values` without `taken`: each value is removed as often as it occurs in `taken`.
///
/// # Errors
/// A value of `taken` that `values` does not contain, or not as often.
pub fn without<T: Ord + Clone>(values: &[T], taken: &[T]) -> Result<Vec<T>, T> {
    let mut to_take = multiset(taken.iter().cloned());
    let mut left = vec![];
    for value in values {
        match to_take.get_mut(value) {
            Some(count) if *count > 0 => *count -= 1,
            _ => left.push(value.clone()),
        }
    }
    match to_take.into_iter().find(|(_, count)| *count > 0) {
        Some((value, _)) => Err(value),
        None => Ok(left),
    }
}

/// The first difference between two multisets, in words.
#[must_use]
pub fn difference<T: Ord + Clone + std::fmt::Debug>(expected: &[T], found: &[T]) -> Option<String> {
    let (expected, found) = (multiset(expected.iter().cloned()), multiset(found.iter().cloned()));
    let keys = expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let count = |counts: &Multiset<T>, key: &T| counts.get(key).copied().unwrap_or(0);
    keys.into_iter().find(|key| count(&expected, key) != count(&found, key)).map(|key| {
        let (expected, found) = (count(&expected, key), count(&found, key));
        format!("expected {expected} times and found {found} times: {key:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_away_counts() {
        assert_eq!(without(&[1, 2, 2, 3], &[2]), Ok(vec![1, 2, 3]));
        assert_eq!(without(&[1, 2], &[2, 2]), Err(2));
    }

    #[test]
    fn a_difference_names_what_differs() {
        assert_eq!(difference(&[1, 2], &[2, 1]), None);
        assert_eq!(difference(&[1, 2], &[2, 2]).unwrap(), "expected 1 times and found 0 times: 1");
    }
}
