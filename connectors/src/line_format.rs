//! Formats that turn a record into a line of a file.

use thalweg_io::Buffer;
use thalweg_record::record::Record;

/// Appends a record to a block, as a line with its end.
pub trait LineFormat<T: Record>: Clone + Send + 'static {
    /// Appends the line of `view` to `block`.
    fn append(&mut self, view: T::Ref<'_>, block: &mut Buffer);
}

/// Lines that a function writes.
#[derive(Clone)]
pub struct Lines<F> {
    function: F,
    line: String,
}

impl<F> Lines<F> {
    pub(super) fn new(function: F) -> Self {
        Self { function, line: String::new() }
    }
}

impl<T: Record, F> LineFormat<T> for Lines<F>
where
    F: for<'a> FnMut(T::Ref<'a>, &mut String) + Clone + Send + 'static,
{
    #[inline]
    fn append(&mut self, view: T::Ref<'_>, block: &mut Buffer) {
        self.line.clear();
        (self.function)(view, &mut self.line);
        self.line.push('\n');
        block.extend_from_slice(self.line.as_bytes());
    }
}
