//! What `console/` will do: show a job, with what it is, what became of it and its numbers.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use thalweg::io::LocalBoxFuture;
use thalweg::{JobControl, JobError, JobObserver, JobPlan, Watched};

/// Sees jobs from within.
#[derive(Clone, Debug, Default)]
pub struct Console {
    watched: Arc<Mutex<Vec<String>>>,
}

impl Console {
    /// The names of the jobs that it was handed to.
    pub fn watched(&self) -> Vec<String> {
        self.watched.lock().unwrap().clone()
    }
}

impl JobObserver for Console {
    fn begin(&self, watched: Watched) -> LocalBoxFuture<Result<(), JobError>> {
        self.watched.lock().unwrap().push(watched.job().to_owned());
        assert_eq!(watched.metrics().total("numRecordsOut"), 0);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A page about a job.
pub fn page(plan: &JobPlan, control: &JobControl) -> String {
    let (history, metrics) = (control.history(), control.metrics());
    let mut page = format!("{}\n", plan.name);
    for attempt in history.attempts() {
        let _ = writeln!(page, "attempt {}: {:?}", attempt.attempt, attempt.ended);
    }
    for checkpoint in history.checkpoints() {
        let _ = writeln!(page, "checkpoint {}: {} bytes", checkpoint.checkpoint, checkpoint.bytes());
    }
    for vertex in &plan.vertices {
        let _ = writeln!(page, "{} ({})", vertex.name, vertex.uid);
    }
    for metric in metrics.iter() {
        let _ = writeln!(page, "{} {} {}", metric.operator, metric.name, metric.value);
    }
    page
}
