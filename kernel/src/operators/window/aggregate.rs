//! The aggregate of the records per key (and window): one accumulator, however many records there are.
//!
//! An [`AggregateFunction`] itself is the same for all keys and windows: each of them has an accumulator of its own, which holds what was seen of it.

use crate::record::Record;

/// Folds records into an accumulator (Flink's `AggregateFunction`).
///
/// An accumulator stands for the sequence of records it was given. Records of one key and window are added in order of arrival; where windows merge, their
/// accumulators are joined by [`merge`](Self::merge).
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::AggregateFunction;
///
/// /// The mean of some numbers: how many there are, and their sum.
/// #[derive(Clone)]
/// struct Mean;
///
/// impl AggregateFunction<u32> for Mean {
///     type Accumulator = (u64, u64);
///     type Output = f64;
///     fn create_accumulator(&self) -> (u64, u64) { (0, 0) }
///     fn add(&self, value: u32, seen: &mut (u64, u64)) { *seen = (seen.0 + 1, seen.1 + u64::from(value)) }
///     fn merge(&self, other: (u64, u64), seen: &mut (u64, u64)) { *seen = (seen.0 + other.0, seen.1 + other.1) }
///     fn get_result(&self, seen: &(u64, u64)) -> f64 { seen.1 as f64 / seen.0 as f64 }
/// }
///
/// let fold = |values: &[u32]| {
///     let mut seen = Mean.create_accumulator();
///     values.iter().for_each(|value| Mean.add(*value, &mut seen));
///     seen
/// };
/// let mut seen = fold(&[1, 2]);
/// Mean.merge(fold(&[6]), &mut seen);
/// assert_eq!(seen, fold(&[1, 2, 6]));
/// ```
pub trait AggregateFunction<In: Record>: Clone + Send + 'static {
    /// The state per key (and window).
    type Accumulator: Record;
    /// The result.
    type Output;

    /// An accumulator that has seen no record.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Adds a record.
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Self::Accumulator);

    /// Adds all records that `other` has seen, as if they had now been added one after the other; one of the two, or both, may have seen none.
    ///
    /// Records of windows that merge have come interleaved, and `accumulator` is that of the earlier window: an aggregate whose result depends on the order
    /// of its records must not expect the order of arrival.
    fn merge(&self, other: Self::Accumulator, accumulator: &mut Self::Accumulator);

    /// The result so far.
    fn get_result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

/// A reduce as an aggregate: the accumulator is the reduced record, absent before the first. It merges correctly if the function is associative.
#[derive(Clone)]
pub struct ReduceWindow<F> {
    pub(crate) function: F,
}

impl<In, F> AggregateFunction<In> for ReduceWindow<F>
where
    In: Record,
    F: for<'a, 'b> Fn(In::Ref<'a>, In::Ref<'b>) -> In + Clone + Send + 'static,
{
    type Accumulator = Option<In>;
    type Output = In;

    fn create_accumulator(&self) -> Option<In> {
        None
    }

    #[inline]
    fn add(&self, value: In::Ref<'_>, accumulator: &mut Option<In>) {
        *accumulator = Some(match accumulator {
            Some(before) => (self.function)(before.view(), value),
            None => In::from_view(value),
        });
    }

    fn merge(&self, other: Option<In>, accumulator: &mut Option<In>) {
        *accumulator = match (accumulator.take(), other) {
            (Some(before), Some(other)) => Some((self.function)(before.view(), other.view())),
            (before, other) => before.or(other),
        };
    }

    fn get_result(&self, accumulator: &Option<In>) -> In {
        accumulator.clone().expect("invariant: an accumulator is made for its first record")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds each part separately and merges the accumulators.
    fn merged<A: AggregateFunction<String>>(aggregate: &A, parts: &[&[&str]]) -> A::Accumulator {
        let fold = |part: &&[&str]| {
            let mut accumulator = aggregate.create_accumulator();
            part.iter().for_each(|value| aggregate.add(value, &mut accumulator));
            accumulator
        };
        parts
            .iter()
            .map(fold)
            .reduce(|mut before, next| {
                aggregate.merge(next, &mut before);
                before
            })
            .unwrap()
    }

    /// Joining texts is associative and not commutative: the order is seen.
    #[test]
    fn reduced_records_of_several_parts_merge_to_those_of_all_records_in_order() {
        let joined = ReduceWindow { function: |before: &str, value: &str| format!("{before}{value}") };
        let whole = merged(&joined, &[&["a", "b", "c", "d"]]);
        assert_eq!(whole.as_deref(), Some("abcd"));
        let divided: [&[&[&str]]; 6] = [
            &[&["a"], &["b", "c", "d"]],
            &[&["a", "b", "c"], &["d"]],
            &[&["a"], &["b"], &["c"], &["d"]],
            &[&[], &["a", "b", "c", "d"]],
            &[&["a", "b", "c", "d"], &[]],
            &[&["a", "b"], &[], &[], &["c", "d"]],
        ];
        for parts in divided {
            assert_eq!(merged(&joined, parts), whole, "{parts:?}");
        }
        assert_eq!(merged(&joined, &[&[], &[]]), None);
    }
}
