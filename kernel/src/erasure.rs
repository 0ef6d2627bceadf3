//! Sources and sinks without their types, as the coordinator handles them: splits and transactions are archives that it carries and never looks into.

use crate::graph::{SinkPlan, SourcePlan};
use crate::graph_ids::OperatorId;
use crate::record::{ArchiveError, Archiver, Record, RecordLayout, UnreadableRecord};
use crate::sink::{Recovery, Sink, SinkError};
use crate::source::{Source, SourceError};
use rkyv::util::AlignedVec;

/// `source` without its type.
pub(crate) fn source_plan<S: Source>(operator: OperatorId, source: &S) -> SourcePlan {
    let enumerator = source.clone();
    let layout = source.split_layout().layout().clone();
    SourcePlan {
        operator,
        layout,
        input: source.location(),
        splits: Box::new(move |io, parallelism| {
            let enumerator = enumerator.clone();
            Box::pin(async move {
                let splits = enumerator.splits(io, parallelism).await?;
                let mut archiver = Archiver::new();
                let archives: Result<Vec<AlignedVec>, ArchiveError> = splits.iter().map(|split| archiver.to_bytes(split)).collect();
                archives.map_err(|error| SourceError::Other(format!("a split is too large: {error}")))
            })
        }),
    }
}

/// `sink` without its type.
pub(crate) fn sink_plan<S: Sink>(operator: OperatorId, sink: &S) -> SinkPlan {
    let (checking, recovering, committing) = (sink.clone(), sink.clone(), sink.clone());
    let layout = sink.transaction_layout().layout().clone();
    SinkPlan {
        operator,
        layout,
        location: sink.location(),
        spans_processes: sink.spans_processes(),
        check: Box::new(move |io, recovery| {
            let sink = checking.clone();
            Box::pin(async move { sink.check(io, typed(recovery, &sink.transaction_layout())?).await })
        }),
        recover: Box::new(move |io, recovery| {
            let sink = recovering.clone();
            Box::pin(async move { sink.recover(io, typed(recovery, &sink.transaction_layout())?).await })
        }),
        commit: Box::new(move |io, archives| {
            let sink = committing.clone();
            Box::pin(async move { sink.commit(io, transactions(&archives, &sink.transaction_layout())?).await })
        }),
    }
}

fn typed<T: Record>(recovery: Recovery<AlignedVec>, layout: &RecordLayout<T>) -> Result<Recovery<T>, SinkError> {
    let Recovery { job, attempt, restored, committed, discard_later_output, owner, checkpoints, inputs, take_over_output, is_last } =
        recovery;
    let committed = transactions(&committed, layout)?;
    Ok(Recovery { job, attempt, restored, committed, discard_later_output, owner, checkpoints, inputs, take_over_output, is_last })
}

fn transactions<T: Record>(archives: &[AlignedVec], layout: &RecordLayout<T>) -> Result<Vec<T>, SinkError> {
    let read: Result<Vec<T>, UnreadableRecord> = archives.iter().map(|bytes| layout.read_owned(bytes)).collect();
    read.map_err(|error| SinkError::invalid(format!("a prepared transaction cannot be read: {error}")))
}
