//! Whether any record of a job can be late, whatever the schedule.
//!
//! Splits are given out in order, and a reader reads its splits one after the other. So the records that a reader has seen before a given record precede it
//! in the concatenation of all splits, and the watermark of an operator is at most that of the reader that the record comes from. If no watermark that the
//! preceding records can cause reaches a record's time, that record is never late. Idleness breaks the argument: an idle reader holds nobody back, so
//! others may overtake it, if only by reaching their end.

use crate::scenario::elements::Element;
use crate::scenario::elements_plan::{ElementsPlan, SourcePlan, Strategy};

/// Whether no schedule can make a record of this job late.
#[must_use]
pub fn is_impossible(plan: &ElementsPlan) -> bool {
    if plan.has_idleness() {
        return false;
    }
    match plan.late_strategy {
        // After an exchange the records arrive in any order.
        Some(strategy) => {
            let all = plan.sources.iter().flat_map(|source| source.splits.iter().flatten());
            holds_in_any_order(all, strategy)
        }
        None => plan.sources.iter().all(source_is_safe),
    }
}

fn source_is_safe(source: &SourcePlan) -> bool {
    let records = || source.splits.iter().flatten();
    holds_in_any_order(records(), source.strategy) || source.reads_in_order() && holds_in_order(records(), source.strategy)
}

/// Whether no watermark reaches a later record of the sequence.
pub(crate) fn holds_in_order<'a>(records: impl Iterator<Item = &'a Element>, strategy: Strategy) -> bool {
    let mut watermark = i64::MIN;
    for record in records {
        if record.at <= watermark {
            return false;
        }
        let next = match strategy.bound_ms {
            Some(bound_ms) => record.at - bound_ms as i64 - 1,
            None => record.watermark.unwrap_or(i64::MIN),
        };
        watermark = watermark.max(next);
    }
    true
}

/// Whether no watermark reaches any record at all.
fn holds_in_any_order<'a>(records: impl Iterator<Item = &'a Element>, strategy: Strategy) -> bool {
    let (mut earliest, mut highest) = (i64::MAX, i64::MIN);
    for record in records {
        earliest = earliest.min(record.at);
        highest = highest.max(match strategy.bound_ms {
            Some(bound_ms) => record.at - bound_ms as i64 - 1,
            None => record.watermark.unwrap_or(i64::MIN),
        });
    }
    highest < earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_order(times: &[i64], bound_ms: u64) -> bool {
        let element = |at: &i64| Element { id: 0, key: String::new(), at: *at, value: 0, watermark: None, pause_ms: 0 };
        let elements: Vec<_> = times.iter().map(element).collect();
        holds_in_order(elements.iter(), Strategy { bound_ms: Some(bound_ms), idleness_ms: None })
    }

    #[test]
    fn a_record_that_is_exactly_as_late_as_the_bound_allows_is_not_late() {
        assert!(in_order(&[5, 5, 8, 6, 8], 2));
        assert!(!in_order(&[5, 8, 5], 2));
        assert!(in_order(&[1, 1, 2], 0));
    }
}
