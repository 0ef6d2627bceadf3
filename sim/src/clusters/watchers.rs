//! The observers of a cluster: the oracles, and one that only notes what it has seen.
//!
//! Most oracles assume a single process; for those there is an instance for each attempt ([`Apart`]). The ledger and the saved watermarks belong to the
//! job, and outlive attempts.

use super::notes::Notes;
use crate::marks::sometimes;
use crate::oracles::{
    Acknowledgements, Alignment, Apart, Bounds, Coverage, CreditBounds, Cuts, Fences, Protocol, SavedWatermarks, ShadowRestore, Shadows,
    Transactions, Watermarks, Windows,
};
use crate::scenario::cluster_plan::ClusterPlan;
use crate::scenario::elements_plan::{ElementsPlan, WindowPlan};
use std::collections::BTreeMap;
use std::rc::Rc;
use thalweg_io::ProbeEvent;
use thalweg_world::World;
use thalweg_world::{Oracle, Origin, Violation};

/// Adds all observers to each run of `world`.
pub(super) fn watch(
    world: &World,
    job: &ElementsPlan,
    plan: &ClusterPlan,
    windows: &BTreeMap<&'static str, WindowPlan>,
    coverage: &Coverage,
    notes: &Notes,
    shadows: &Shadows,
) {
    let coverage = coverage.clone();
    world.watch_each(move || coverage.clone());
    let saved = SavedWatermarks::default();
    world.watch_each(move || {
        let saved = saved.clone();
        Apart::new(move || Watermarks::of(saved.clone()))
    });
    world.watch_each(|| Apart::new(Bounds::default));
    // If an input may be idle, the windows of subtasks need not agree.
    let (windows, has_idleness) = (windows.clone(), job.has_idleness());
    world.watch_each(move || {
        let windows = windows.clone();
        Apart::new(move || Windows::new(windows.clone()).agreeing(!has_idleness))
    });
    world.watch_each(|| Apart::new(Alignment::default));
    world.watch_each(|| Apart::new(Acknowledgements::default));
    let ledger = notes.shared_ledger();
    world.watch_each(move || {
        let ledger = Rc::clone(&ledger);
        Apart::new(move || Transactions::new(Rc::clone(&ledger)))
    });
    let shadows = shadows.clone();
    world.watch_each(move || ShadowRestore::new(shadows.clone()));
    world.watch_each(|| Apart::new(Cuts::default));
    world.watch_each(CreditBounds::default);
    world.watch_each(Fences::default);
    let flips_bits = plan.flips_bits();
    world.watch_each(move || Protocol::new(flips_bits));
    let (notes, has_no_credit) = (notes.clone(), plan.phases.iter().all(|phase| phase.engine.settings.channel_frames == 0));
    world.watch_each(move || Sightings { notes: notes.clone(), has_no_credit });
}

/// Never objects: notes the marks that a cluster reaches.
struct Sightings {
    notes: Notes,
    /// Whether no phase grants frames in advance.
    has_no_credit: bool,
}

impl Oracle for Sightings {
    fn name(&self) -> &str {
        "sightings"
    }

    fn observe(&mut self, _now_ms: u64, _event: &ProbeEvent<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn observe_in(&mut self, _origin: Origin<'_>, _now_ms: u64, event: &ProbeEvent<'_>) -> Result<(), Violation> {
        match event.name {
            "worker.joined" => sometimes!(self.notes, event.values[1] > 1, "a worker joined again"),
            "worker.lost" => self.notes.note("a worker lost in an attempt"),
            "link.frame.in" => sometimes!(self.notes, self.has_no_credit, "credit on demand"),
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, _now_ms: u64) -> Result<(), Violation> {
        Ok(())
    }
}
