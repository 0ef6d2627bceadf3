//! Windows at a cut: which have to be in the state, and which results have to be there.
//!
//! A window is kept until the watermark of its key's owner has passed its end and the allowed lateness. As long as it is, no record of it was late, so
//! its content is made of all records before the cut, whatever the schedule was. What has passed its end has fired, and each record since then has fired
//! it again; so its newest result has the records it would have if it were kept, less those that were late.

use super::keyed::Keyed;
use super::same;
use crate::reference::elements::{self as interpreter, Windows};
use crate::reference::without;
use crate::scenario::elements::{Element, WindowResult};
use crate::scenario::elements_job::Gathered;
use crate::scenario::elements_plan::WindowPlan;
use std::collections::{BTreeMap, BTreeSet};

/// The name of the state.
const CONTENTS: &str = "window-contents";

/// Windows of one key and span, by their first and end: the content of each firing.
pub(super) type Firings = BTreeMap<(String, i64, i64), Vec<(i64, Vec<u64>)>>;

/// The results by their windows.
pub(super) fn of_results(results: &[WindowResult]) -> Firings {
    let mut firings = Firings::new();
    for WindowResult { key, start, end, sum, ids } in results {
        firings.entry((key.clone(), *start, *end)).or_default().push((*sum, ids.clone()));
    }
    firings
}

/// The entries of a window operator whose accumulators `content` knows.
pub(super) fn contents<V: thalweg::Record + Ord + std::fmt::Debug>(
    keyed: &Keyed<'_>,
    content: impl Fn(V) -> (i64, Vec<u64>),
) -> Result<Windows, String> {
    let entries = keyed.entries::<V>(CONTENTS)?.into_iter().map(|entry| {
        let (start, end) = entry.namespace.ok_or_else(|| format!("an entry without a window, of the key {}", entry.key))?;
        let (sum, mut ids) = content(entry.value);
        ids.sort_unstable();
        Ok(((entry.key, start, end), (sum, ids)))
    });
    entries.collect()
}

/// A window operator at a cut.
pub(super) struct AtCut<'a> {
    pub(super) plan: WindowPlan,
    pub(super) keyed: Keyed<'a>,
    /// The records that have reached it, with their event times.
    pub(super) input: &'a [Element],
    /// Those of them that were late.
    pub(super) late: &'a [Element],
    /// Whether no schedule can make a record late.
    pub(super) is_never_late: bool,
}

impl AtCut<'_> {
    /// Whether everything about it is compared, whatever the schedule was.
    pub(super) fn is_exact(&self) -> bool {
        self.plan.slide_ms.is_none() || self.is_never_late
    }

    /// Compares the state.
    pub(super) fn state(&self) -> Result<(), String> {
        let found = contents::<Gathered>(&self.keyed, |gathered| (gathered.sum, gathered.ids))?;
        kept_are(&self.plan, &self.keyed, interpreter::windows(&self.plan, self.input), &found)
    }

    /// Compares the results.
    pub(super) fn fired(&self, firings: &Firings) -> Result<(), String> {
        let late = without(self.input, self.late).map(|_| interpreter::windows(&self.plan, self.late));
        let late = late.map_err(|stranger| format!("in the late output and not in the input, or more often: {stranger:?}"))?;
        let all = interpreter::windows(&self.plan, self.input);
        has_fired(self, &all, &late, firings)
    }

    /// The results of tumbling windows without allowed lateness, as the records that a second window receives: each fires once, with all that was not
    /// late.
    pub(super) fn results(&self, size_ms: i64) -> Result<Vec<Element>, String> {
        let on_time = without(self.input, self.late)
            .map_err(|stranger| format!("in the late output and not in the input, or more often: {stranger:?}"))?;
        let has_fired = |element: &Element| {
            let starts = interpreter::window_starts(&self.plan, element.at);
            starts.iter().all(|start| start + size_ms - 1 <= self.keyed.watermark_of(&element.key))
        };
        let fired: Vec<Element> = on_time.into_iter().filter(has_fired).collect();
        Ok(interpreter::first_results(size_ms, &fired))
    }
}

/// Compares the windows of the state with those of `all` that have to be kept.
pub(super) fn kept_are(plan: &WindowPlan, keyed: &Keyed<'_>, all: Windows, found: &Windows) -> Result<(), String> {
    let is_kept = |((key, _, end), _): &((String, i64, i64), _)| is_kept(plan, *end, keyed.watermark_of(key));
    let expected: Vec<_> = all.into_iter().filter(is_kept).collect();
    let found: Vec<_> = found.iter().map(|(window, content)| (window.clone(), content.clone())).collect();
    same("the state of windows", &expected, &found)
}

fn is_kept(plan: &WindowPlan, end: i64, watermark: i64) -> bool {
    end.saturating_sub(1).saturating_add(plan.lateness_ms) > watermark
}

fn has_fired(at_cut: &AtCut<'_>, all: &Windows, late: &Windows, firings: &Firings) -> Result<(), String> {
    let AtCut { plan, keyed, is_never_late, .. } = at_cut;
    let names: BTreeSet<_> = all.keys().chain(firings.keys()).collect();
    for window @ (key, _, end) in names {
        let watermark = keyed.watermark_of(key);
        let mut fired: Vec<&(i64, Vec<u64>)> = firings.get(window).into_iter().flatten().collect();
        fired.sort_by_key(|(_, ids)| ids.len());
        let is_due = end - 1 <= watermark;
        if !is_due && let Some(first) = fired.first() {
            return Err(format!("{window:?} has fired at the watermark {watermark}: {first:?}"));
        }
        if let Some(pair) = fired.windows(2).find(|pair| pair[0].1.len() == pair[1].1.len()) {
            return Err(format!("{window:?} has fired twice without another record: {pair:?}"));
        }
        if *is_never_late && fired.len() > 1 {
            return Err(format!("no record of this job can be late, and {window:?} has fired again: {fired:?}"));
        }
        if !is_due {
            continue;
        }
        let empty = (0, vec![]);
        let (sum, ids) = all.get(window).unwrap_or(&empty);
        let newest = fired.last().copied().unwrap_or(&empty);
        let lacks_nothing = plan.slide_ms.is_none() || is_kept(plan, *end, watermark) || *is_never_late;
        let (late_sum, late_ids) = late.get(window).filter(|_| plan.slide_ms.is_none()).unwrap_or(&empty);
        if lacks_nothing {
            let on_time = without(ids, late_ids).map_err(|id| format!("{window:?} has no record {id}, and it is late for it"))?;
            let expected = (sum.wrapping_sub(*late_sum), on_time);
            if *newest != expected {
                return Err(format!(
                    "{window:?} is due at the watermark {watermark} with {expected:?}, and its newest result is {newest:?}"
                ));
            }
        } else if let Err(id) = without(ids, &newest.1) {
            return Err(format!("{window:?} has fired with the record {id}, which is not its own: {newest:?}"));
        }
    }
    Ok(())
}
