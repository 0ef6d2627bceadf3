//! A sink into memory, for tests and small results.

use crate::record::Record;
use crate::sink::{Sink, SinkContext, SinkWriter};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use thalweg_io::{IoError, Mailbox, MailboxReceiver, mailbox};

/// Hands its records over when the job commits: a job that fails shows none.
pub struct CollectSink<T> {
    sender: Mailbox<Vec<T>>,
}

impl<T> Clone for CollectSink<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

/// Where the records of a [`CollectSink`] arrive.
pub struct Collected<T> {
    receiver: RefCell<MailboxReceiver<Vec<T>>>,
    record: PhantomData<T>,
}

impl<T: Record> CollectSink<T> {
    /// A sink, and where its records arrive.
    #[must_use]
    pub fn new() -> (Self, Collected<T>) {
        let (sender, receiver) = mailbox();
        (Self { sender }, Collected { receiver: RefCell::new(receiver), record: PhantomData })
    }
}

impl<T> Collected<T> {
    /// What the job has committed: everything when it has finished, nothing before or if it failed. Records of one subtask stand in their order.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let mut receiver = self.receiver.borrow_mut();
        std::iter::from_fn(|| receiver.try_recv()).flatten().collect()
    }
}

impl<T: Record> Sink for CollectSink<T> {
    type In = T;
    type Writer = CollectWriter<T>;

    fn name(&self) -> &'static str {
        "collect"
    }

    fn writer(&self, _context: SinkContext) -> CollectWriter<T> {
        CollectWriter { sender: self.sender.clone(), records: Vec::new() }
    }
}

/// Gathers the records of one subtask.
pub struct CollectWriter<T> {
    sender: Mailbox<Vec<T>>,
    records: Vec<T>,
}

impl<T: Record> SinkWriter for CollectWriter<T> {
    type In = T;

    fn write(&mut self, _timestamp: i64, record: T::Ref<'_>) {
        self.records.push(T::from_view(record));
    }

    fn poll_commit(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        // If the receiver has been dropped nobody wants the records.
        drop(self.sender.send(std::mem::take(&mut self.records)));
        Poll::Ready(Ok(()))
    }
}
