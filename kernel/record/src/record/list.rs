//! The view of a `Vec<T>`.
//!
//! A [`ListRef`] lies over a slice of owned values or over a slice of archived ones and hands out the same views for both. It is two words
//! and a tag, `Copy`, and never allocates; the tag is looked at once per element, a branch that predicts well.

use core::fmt;
use core::iter::FusedIterator;
use core::slice;

use rkyv::Archived;

use super::Record;

/// A borrowed list of records.
///
/// ```
/// # extern crate thalweg_record as thalweg;
/// use thalweg::record::Record;
///
/// let names = vec!["Ada".to_string(), "Grace".to_string()];
/// let list = names.view();
/// assert_eq!(list.len(), 2);
/// assert_eq!(list.get(1), Some("Grace"));
/// assert_eq!(list.iter().map(str::len).sum::<usize>(), 8);
/// ```
pub enum ListRef<'a, T: Record> {
    /// Over owned values.
    Owned(&'a [T]),
    /// Over archived values.
    Archived(&'a [Archived<T>]),
}

impl<T: Record> Clone for ListRef<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for ListRef<'_, T> {}

impl<'a, T: Record> ListRef<'a, T> {
    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Owned(values) => values.len(),
            Self::Archived(values) => values.len(),
        }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The view of element `index`, counted from 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<T::Ref<'a>> {
        match *self {
            Self::Owned(values) => values.get(index).map(T::view),
            Self::Archived(values) => values.get(index).map(T::view_archived),
        }
    }

    /// The view of the first element.
    #[inline]
    pub fn first(&self) -> Option<T::Ref<'a>> {
        self.get(0)
    }

    /// The view of the last element.
    #[inline]
    pub fn last(&self) -> Option<T::Ref<'a>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The views of all elements, in order.
    #[inline]
    pub fn iter(&self) -> ListIter<'a, T> {
        match *self {
            Self::Owned(values) => ListIter::Owned(values.iter()),
            Self::Archived(values) => ListIter::Archived(values.iter()),
        }
    }

    /// An owned copy, as [`Record::from_view`] makes for a `Vec<T>`.
    pub fn to_vec(&self) -> Vec<T> {
        match *self {
            Self::Owned(values) => values.to_vec(),
            Self::Archived(values) => values.iter().map(|value| T::from_view(T::view_archived(value))).collect(),
        }
    }
}

impl<'a> ListRef<'a, u8> {
    /// The bytes themselves: archived bytes have the same form.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match *self {
            Self::Owned(bytes) | Self::Archived(bytes) => bytes,
        }
    }
}

impl<T: Record> fmt::Debug for ListRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Two lists are equal if the views of their elements are, wherever they lie.
impl<T: Record> PartialEq for ListRef<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(left, right)| left == right)
    }
}

impl<'a, T: Record> IntoIterator for ListRef<'a, T> {
    type Item = T::Ref<'a>;
    type IntoIter = ListIter<'a, T>;

    #[inline]
    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// Iterates over the views of a [`ListRef`].
pub enum ListIter<'a, T: Record> {
    /// Over owned values.
    Owned(slice::Iter<'a, T>),
    /// Over archived values.
    Archived(slice::Iter<'a, Archived<T>>),
}

impl<T: Record> Clone for ListIter<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Owned(values) => Self::Owned(values.clone()),
            Self::Archived(values) => Self::Archived(values.clone()),
        }
    }
}

impl<T: Record> fmt::Debug for ListIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, T: Record> Iterator for ListIter<'a, T> {
    type Item = T::Ref<'a>;

    #[inline]
    fn next(&mut self) -> Option<T::Ref<'a>> {
        match self {
            Self::Owned(values) => values.next().map(T::view),
            Self::Archived(values) => values.next().map(T::view_archived),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Owned(values) => values.size_hint(),
            Self::Archived(values) => values.size_hint(),
        }
    }

    // One branch for the whole list instead of one per element: sums and folds vectorise.
    #[inline]
    fn fold<B, F: FnMut(B, T::Ref<'a>) -> B>(self, init: B, mut f: F) -> B {
        match self {
            Self::Owned(values) => values.fold(init, |acc, value| f(acc, T::view(value))),
            Self::Archived(values) => values.fold(init, |acc, value| f(acc, T::view_archived(value))),
        }
    }
}

impl<'a, T: Record> DoubleEndedIterator for ListIter<'a, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T::Ref<'a>> {
        match self {
            Self::Owned(values) => values.next_back().map(T::view),
            Self::Archived(values) => values.next_back().map(T::view_archived),
        }
    }
}

impl<T: Record> ExactSizeIterator for ListIter<'_, T> {}
impl<T: Record> FusedIterator for ListIter<'_, T> {}
