//! A record as it arrives at the head of a task: owned, or within an archive.
//!
//! A user's function takes a view that lives as long as the reference to it, so the view is made where it is used; that is what this trait is for. Both
//! forms compile into the same loop, one each.

use crate::chain::Collector;
use crate::record::Record;

/// A record of `T` as it arrives.
pub trait Arrival<T: Record>: Sized {
    /// The view that user functions take.
    fn view(&self) -> T::Ref<'_>;

    /// Makes the record owned, if it is not.
    fn into_owned(self) -> T;

    /// Hands the record to the first operator, owned or as a view, whichever costs nothing.
    fn hand_to<C: Collector<T>>(self, timestamp: i64, down: &mut C);
}

/// A record that never left the process.
pub struct Owned<T>(pub(crate) T);

impl<T: Record> Arrival<T> for Owned<T> {
    #[inline]
    fn view(&self) -> T::Ref<'_> {
        self.0.view()
    }

    #[inline]
    fn into_owned(self) -> T {
        self.0
    }

    #[inline]
    fn hand_to<C: Collector<T>>(self, timestamp: i64, down: &mut C) {
        down.push(timestamp, self.0);
    }
}

/// A record that came from another process, still in its archive.
pub struct InPlace<'a, T: Record>(pub(crate) &'a T::Archived);

impl<T: Record> Arrival<T> for InPlace<'_, T> {
    #[inline]
    fn view(&self) -> T::Ref<'_> {
        T::view_archived(self.0)
    }

    fn into_owned(self) -> T {
        T::from_view(self.view())
    }

    #[inline]
    fn hand_to<C: Collector<T>>(self, timestamp: i64, down: &mut C) {
        down.push_view(timestamp, self.view());
    }
}
