//! The layouts of an operator's states: those given where the job was described, else those of the types.

use crate::record::{Key, Record, RecordLayout};
use std::any::Any;
use std::sync::Arc;

/// A `RecordLayout` of some type.
type Given = Arc<dyn Any + Send + Sync>;

/// The layouts given for one operator.
#[derive(Clone, Default)]
pub(crate) struct GivenLayouts {
    key: Option<Given>,
    /// By the name of the state.
    values: Vec<(String, Given)>,
}

impl GivenLayouts {
    /// Gives the layout of the keys of all its states.
    pub(crate) fn give_key<K: Key>(&mut self, layout: RecordLayout<K>) {
        self.key = Some(Arc::new(layout));
    }

    /// Gives the layout of the state `name`, per key.
    pub(crate) fn give_value<V: Record>(&mut self, name: &str, layout: RecordLayout<V>) {
        self.values.retain(|(given, _)| given != name);
        self.values.push((name.to_owned(), Arc::new(layout)));
    }

    /// The layout of the keys.
    pub(super) fn key<K: Key>(&self) -> RecordLayout<K> {
        let typed = |given: &Given| -> RecordLayout<K> {
            let given: Option<&RecordLayout<K>> = given.downcast_ref();
            given.expect("invariant: the keyed stream gave it for its own type of key").clone()
        };
        self.key.as_ref().map_or_else(RecordLayout::default, typed)
    }

    /// The layout of the state `name`, per key; `None` if one was given that is of another type.
    pub(super) fn value<V: Record>(&self, name: &str) -> Option<RecordLayout<V>> {
        match self.values.iter().find(|(given, _)| given == name) {
            Some((_, given)) => given.downcast_ref().cloned(),
            None => Some(RecordLayout::default()),
        }
    }

    /// The names of the states for which a layout was given.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }
}
