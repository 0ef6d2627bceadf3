//! The name of a side output, with the type of its records.

use crate::record::{Record, RecordLayout};
use std::borrow::Cow;

/// Names a side output of records of type `T`. Two tags of the same name are the same output.
///
/// ```
/// # extern crate thalweg_kernel as thalweg;
/// use thalweg::OutputTag;
/// const LATE: OutputTag<String> = OutputTag::new("late");
/// ```
pub struct OutputTag<T: Record> {
    name: Cow<'static, str>,
    /// The layout of the type, unless given.
    layout: Option<RecordLayout<T>>,
}

impl<T: Record> Clone for OutputTag<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), layout: self.layout.clone() }
    }
}

impl<T: Record> OutputTag<T> {
    /// The tag named `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), layout: None }
    }

    /// The tag named `name`, for a name that is made at run time.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), layout: None }
    }

    /// The same with the layout of its records, where their type stands for several layouts: see
    /// [`DataStream::with_layout`](crate::DataStream::with_layout).
    #[must_use]
    pub fn with_layout(self, layout: RecordLayout<T>) -> Self {
        Self { layout: Some(layout), ..self }
    }

    pub(crate) fn layout(&self) -> RecordLayout<T> {
        self.layout.clone().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
