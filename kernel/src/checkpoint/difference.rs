//! The difference between a checkpoint and a job, as plain data: parts that are kept, parts that the job has no place for, parts with another layout.
//!
//! Made by [`Job::compare_with`](crate::Job::compare_with), and by the engine itself when it restores: every refusal comes from one of these, in these
//! words (docs/src/semantics.md#c-7). Pure.

use crate::checkpoint::CheckpointId;
use crate::refusal::{Cure, Refusal};
use serde::Serialize;
use std::fmt;
use thalweg_storage::checkpoint::StateLayout;

/// The difference between a checkpoint and a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckpointDifference {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The key groups that it was taken with.
    pub key_groups_then: u32,
    /// The job's key groups; the two numbers cannot differ.
    pub key_groups_now: u32,
    /// Positions of sources, transactions of sinks, states of operators, in this order.
    pub parts: Vec<ComparedPart>,
}

/// A part of a checkpoint, or one that only the job has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ComparedPart {
    /// The operator's uid, the same in both.
    pub uid: String,
    /// The operator's name in the job, or at the checkpoint.
    pub operator: String,
    /// The kind of the part.
    pub kind: PartKind,
    /// What becomes of the part.
    pub fate: PartFate,
}

/// The kind of a part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum PartKind {
    /// The positions of a source in its splits.
    Positions,
    /// Results that a sink has prepared, and that the checkpoint shows.
    Transactions,
    /// A state of an operator, by name. Names that begin with `thalweg/` are the engine's: its timers, say.
    State(String),
}

/// What becomes of a part of a checkpoint in the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum PartFate {
    /// The job resumes with it.
    Kept,
    /// The job has no place for it.
    Missing {
        /// Whether the job has the operator, and only this state is unknown to it.
        has_operator: bool,
    },
    /// The job has it with another layout.
    OtherLayout {
        /// The layout in the checkpoint.
        then: PartLayout,
        /// The layout in the job.
        now: PartLayout,
    },
    /// The checkpoint does not hold it: it begins empty.
    New,
    /// The states of the operator could not be found out without running it: this is why.
    Unknown(String),
}

/// The layout of a part, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartLayout {
    /// The key's layout, if the state is keyed.
    pub key: Option<String>,
    /// The layout of the value, position or transaction.
    pub value: String,
}

impl PartLayout {
    pub(crate) fn of(layout: &StateLayout) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { key: text(layout.key.text()), value: layout.value.text().to_owned() }
    }
}

impl fmt::Display for PartLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "key {key} and value {}", self.value),
            None => f.write_str(&self.value),
        }
    }
}

impl PartFate {
    /// The fate of a part with the layout `then` in the checkpoint, in a job whose operator keeps it with `now`.
    pub(crate) fn of(then: Option<&StateLayout>, now: Option<&StateLayout>) -> Self {
        match (then, now) {
            (Some(then), Some(now)) if then == now => Self::Kept,
            (Some(then), Some(now)) => Self::OtherLayout { then: PartLayout::of(then), now: PartLayout::of(now) },
            (Some(_), None) => Self::Missing { has_operator: true },
            (None, _) => Self::New,
        }
    }
}

/// Why an operator refuses its state `name` from `checkpoint`; `None` if it does not.
pub(crate) fn state_refusal(checkpoint: CheckpointId, name: &str, fate: &PartFate, allow_non_restored_state: bool) -> Option<Refusal> {
    match fate {
        PartFate::OtherLayout { then, now } => {
            let of_now = [now.key.as_deref().unwrap_or_default(), &now.value];
            let reason = format!(
                "the state {name} has another layout than in checkpoint {checkpoint}: {then} then, {} and {} now; \
                 give the changed state another name, or restore nothing",
                of_now[0], of_now[1]
            );
            Some(Refusal::from(reason).curable_by([Cure::RestoreNothing]))
        }
        PartFate::Missing { has_operator: true } if !allow_non_restored_state => {
            let reason = format!(
                "checkpoint {checkpoint} holds a state {name} that this operator does not have any more; leave it behind, or restore nothing"
            );
            Some(Refusal::from(reason).curable_by([Cure::LeaveStateBehind, Cure::RestoreNothing]))
        }
        _ => None,
    }
}

impl CheckpointDifference {
    /// Why the job would refuse to resume from the checkpoint: the first reason it gives, and what can be done. `None` if it would resume. State that the
    /// job has no place for is no reason where that [is allowed](crate::CheckpointConfig::allow_non_restored_state).
    #[must_use]
    pub fn refusal(&self, allow_non_restored_state: bool) -> Option<Refusal> {
        let (id, then, now) = (self.checkpoint, self.key_groups_then, self.key_groups_now);
        if then != now {
            let reason = format!(
                "checkpoint {id} was taken with {then} key groups and the job has {now}: they cannot change in a job's life; \
                 set them back with set_max_parallelism({then})"
            );
            return Some(reason.into());
        }
        // Reasons that no option can lift come first.
        let whole = self.parts.iter().find_map(|part| self.refusal_of_part(part, true));
        whole.or_else(|| self.parts.iter().find_map(|part| self.refusal_of_part(part, allow_non_restored_state)))
    }

    fn refusal_of_part(&self, part: &ComparedPart, allow_non_restored_state: bool) -> Option<Refusal> {
        let (id, ComparedPart { uid, operator, kind, fate }) = (self.checkpoint, part);
        match (kind, fate) {
            (PartKind::Positions | PartKind::Transactions, PartFate::OtherLayout { then, now }) => {
                let what = if *kind == PartKind::Positions { "positions" } else { "transactions" };
                let reason = format!(
                    "the {what} of {operator} have another layout than in checkpoint {id}: {then} then, {now} now; restore nothing"
                );
                Some(Refusal::from(reason).curable_by([Cure::RestoreNothing]))
            }
            // Results that are prepared and cannot be shown would be lost: no option allows that.
            (PartKind::Transactions, PartFate::Missing { .. }) => {
                let reason = format!(
                    "checkpoint {id} holds results of a sink with the uid {uid} that the job does not have any more: \
                     bring the sink back to have them committed, or restore nothing"
                );
                Some(Refusal::from(reason).curable_by([Cure::RestoreNothing]))
            }
            (_, PartFate::Missing { has_operator: false }) if !allow_non_restored_state => {
                let reason = format!(
                    "checkpoint {id} holds state of the operator {operator} (uid {uid}) that the job does not have any more: \
                     leave it behind, or restore nothing"
                );
                Some(Refusal::from(reason).curable_by([Cure::LeaveStateBehind, Cure::RestoreNothing]))
            }
            (PartKind::State(name), fate) => {
                state_refusal(id, name, fate, allow_non_restored_state).map(|refusal| refusal.of(format_args!("operator {operator}")))
            }
            _ => None,
        }
    }
}

/// A line for each part that is not kept, for people.
impl fmt::Display for CheckpointDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key_groups_then != self.key_groups_now {
            writeln!(f, "key groups: {} then, {} now", self.key_groups_then, self.key_groups_now)?;
        }
        for ComparedPart { uid, operator, kind, fate } in &self.parts {
            let what = match kind {
                PartKind::Positions => "positions".to_owned(),
                PartKind::Transactions => "transactions".to_owned(),
                PartKind::State(name) => format!("state {name}"),
            };
            let fate = match fate {
                PartFate::Kept => continue,
                PartFate::Missing { .. } => "the job has no place for it".to_owned(),
                PartFate::OtherLayout { then, now } => format!("{then} then, {now} now"),
                PartFate::New => "begins empty".to_owned(),
                PartFate::Unknown(reason) => format!("not known: {reason}"),
            };
            writeln!(f, "{operator} (uid {uid}), {what}: {fate}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layout;

    fn layout(value: &str) -> StateLayout {
        StateLayout { key: Layout::none(), value: Layout::described(value) }
    }

    fn difference(parts: &[(PartKind, PartFate)]) -> CheckpointDifference {
        let part = |(kind, fate): &(PartKind, PartFate)| ComparedPart {
            uid: "a-uid".to_owned(),
            operator: "files".to_owned(),
            kind: kind.clone(),
            fate: fate.clone(),
        };
        let parts = parts.iter().map(part).collect();
        CheckpointDifference { checkpoint: CheckpointId(7), key_groups_then: 128, key_groups_now: 128, parts }
    }

    #[test]
    fn what_is_kept_new_or_not_known_is_no_reason_to_refuse() {
        assert_eq!(PartFate::of(Some(&layout("u64")), Some(&layout("u64"))), PartFate::Kept);
        assert_eq!(PartFate::of(None, Some(&layout("u64"))), PartFate::New);
        let unknown = PartFate::Unknown("open() panicked: no".to_owned());
        let state = PartKind::State("count".to_owned());
        let all = difference(&[(PartKind::Positions, PartFate::Kept), (PartKind::Positions, PartFate::New), (state, unknown)]);
        assert_eq!(all.refusal(false), None);
        let text = "files (uid a-uid), positions: begins empty\nfiles (uid a-uid), state count: not known: open() panicked: no\n";
        assert_eq!(all.to_string(), text);
    }

    #[test]
    fn positions_and_transactions_of_another_layout_are_refused_with_both_texts_and_lost_results_by_no_option() {
        let other = PartFate::of(Some(&layout("u64")), Some(&layout("u32")));
        let gone = PartFate::Missing { has_operator: false };
        for (kind, what) in [(PartKind::Positions, "positions"), (PartKind::Transactions, "transactions")] {
            let expected = format!("the {what} of files have another layout than in checkpoint 7: u64 then, u32 now; restore nothing");
            for allow in [false, true] {
                let refusal = difference(&[(kind.clone(), other.clone())]).refusal(allow).unwrap();
                assert_eq!((refusal.reason(), refusal.cures()), (expected.as_str(), &[Cure::RestoreNothing][..]));
            }
        }
        let results = difference(&[(PartKind::State("count".to_owned()), gone.clone()), (PartKind::Transactions, gone.clone())]);
        // Reasons that no option can lift are given first.
        for allow in [false, true] {
            assert!(results.refusal(allow).is_some_and(|refusal| refusal.reason().contains("holds results of a sink with the uid a-uid")));
        }
        let splits = difference(&[(PartKind::Positions, gone)]);
        assert!(splits.refusal(false).is_some_and(|refusal| refusal.reason().contains("state of the operator files (uid a-uid)")));
        assert_eq!(splits.refusal(true), None);
    }

    #[test]
    fn an_operator_whose_open_panics_does_not_say_which_states_it_has() {
        use crate::{Context, KeyedProcessFunction, OpenContext, Output, StreamExecutionEnvironment};

        #[derive(Clone)]
        struct Broken;

        impl KeyedProcessFunction for Broken {
            type Key = u64;
            type In = u64;
            type Out = u64;

            fn open(&mut self, _ctx: &mut OpenContext<'_, u64>) {
                panic!("it cannot be opened")
            }

            fn process_element(&mut self, _n: u64, _ctx: &mut Context<'_, u64>, _out: &mut Output<u64>) {}
        }

        let env = StreamExecutionEnvironment::new();
        env.from_collection(vec![1u64]).key_by::<u64>(|n| *n).process(Broken).uid("broken").for_each(|_| {});
        let held = crate::checkpoint::CheckpointContents::with_state("broken", "count", layout("u64"));
        let difference = env.build("a job").unwrap().compare_with(&held);
        let fate = difference.parts.iter().find(|part| part.kind == PartKind::State("count".to_owned())).map(|part| &part.fate);
        assert!(matches!(fate, Some(PartFate::Unknown(reason)) if reason.contains("it cannot be opened")), "{fate:?}");
    }
}
