//! What saving knows of one part of a table: what was saved of it, what of that is durable, and when it was changed.

/// What is looked at whenever an entry of the part is changed for the first time in an epoch; in epochs of its table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// The epoch in which it was last changed.
    pub(super) changed_in: u32,
    /// About how many entries have changed since it was last decided whether it is saved whole.
    pub(super) changed: u32,
    /// The epoch whose content was last saved.
    pub(super) saved_in: u32,
    /// The epoch for which it was last decided whether it is saved whole.
    pub(super) decided_in: u32,
    /// The decision: entries that have changed in this epoch or later are saved; 0 if all are.
    pub(super) saved_from: u32,
}

impl Changes {
    /// An entry is changed, added or removed in this epoch.
    #[inline]
    pub(super) fn change(&mut self, epoch: u32) {
        self.changed_in = epoch;
        self.changed = self.changed.saturating_add(1);
    }

    /// Whether the part is saved whole.
    pub(super) fn is_whole(&self) -> bool {
        self.saved_from == 0
    }
}

/// What was last saved of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSaved {
    /// The epoch in which that was sealed.
    pub(super) epoch: u32,
    /// Whether it was all of it.
    pub(super) is_whole: bool,
}

/// What was saved of a part; in epochs of its table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// The epoch in which it was last swept.
    pub(super) swept_in: u32,
    /// What was last saved, until that is known to be durable.
    pub(super) last_saved: Option<LastSaved>,
    /// The epoch in which the latest content was sealed that is known to be durable, if one is; and that of the latest of which all was saved, on which it
    /// builds.
    pub(super) stored_in: Option<u32>,
    pub(super) whole_in: u32,
    /// The epoch in which so much was last removed that not all of it is remembered: from the next epoch on nothing can be added to what had been saved by then.
    pub(super) given_up_in: u32,
    /// About how many entries have changed between the latest decision to save all and the latest decision.
    pub(super) changed_since_whole: u32,
}

impl History {
    /// Whether something of it is stored, or may turn out to be.
    pub(super) fn may_be_stored(&self) -> bool {
        self.stored_in.is_some() || self.last_saved.is_some()
    }

    /// Nothing is added to what had been saved by the time that it was given up.
    pub(super) fn forget_given_up(&mut self) {
        self.stored_in = self.stored_in.filter(|stored| *stored > self.given_up_in);
        self.last_saved = self.last_saved.filter(|last| last.epoch > self.given_up_in);
    }
}
