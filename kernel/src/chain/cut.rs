//! The ends of chains: a complete chain becomes a task, or several, and a chain that is cut continues behind an exchange.
//!
//! Here the types of a chain are sealed into the function that builds its subtasks; the graph knows nothing of them.

use super::{Chain, Terminal};
use crate::exchange::{Exchanged, PartitionedEdge, Spread};
use crate::graph::{Build, ChainMeta, Cut, GraphBuilder, Partitioning};
use crate::graph_ids::{EdgeId, OperatorId};
use crate::record::Record;

/// Makes the function that builds a subtask of `chain` with `terminal` at its end.
fn sealed<C: Chain, M: Terminal<C::Out>>(chain: C, terminal: M) -> Box<dyn Fn() -> Build + Send> {
    Box::new(move || -> Build {
        let (chain, terminal) = (chain.clone(), terminal.clone());
        Box::new(move |cx| {
            let end = terminal.connect(cx);
            chain.fuse(cx, end)
        })
    })
}

impl GraphBuilder {
    /// Ends a chain: it becomes a task, or several if chaining is off.
    pub(crate) fn end<C: Chain, M: Terminal<C::Out>>(&mut self, mut meta: ChainMeta, chain: C, terminal: M, outputs: &[EdgeId]) {
        if self.chaining {
            self.add_task(&meta, sealed(chain, terminal), outputs);
        } else {
            let terminal_operator = meta.terminal.take();
            let last = chain.unchain(&mut Cut { graph: self, meta: &mut meta });
            meta.terminal = terminal_operator;
            self.add_task(&meta, sealed(last, terminal), outputs);
        }
    }
}

impl Cut<'_> {
    /// Ends `upstream`, which lies above the last operator, and feeds that operator through a forward edge.
    pub(crate) fn below<C: Chain>(&mut self, upstream: C) -> Exchanged<C::Out> {
        if self.meta.operators.len() <= 1 {
            // There is nothing above the last operator but the exchange that feeds it.
            return Exchanged::new();
        }
        let (last, edge) = self.split_meta::<C::Out>();
        let above = std::mem::take(self.meta);
        self.graph.end(above, upstream, PartitionedEdge { edge, partition: Spread::default() }, &[edge]);
        *self.meta = ChainMeta { operators: last, ..ChainMeta::fed_by(edge) };
        Exchanged::new()
    }

    /// The same, with every operator of `upstream` a task of its own.
    pub(crate) fn below_each<C: Chain>(&mut self, upstream: C) -> Exchanged<C::Out> {
        if self.meta.operators.len() <= 1 {
            return Exchanged::new();
        }
        let (last, edge) = self.split_meta::<C::Out>();
        let upstream = upstream.unchain(self);
        let above = std::mem::take(self.meta);
        self.graph.add_task(&above, sealed(upstream, PartitionedEdge { edge, partition: Spread::default() }), &[edge]);
        *self.meta = ChainMeta { operators: last, parallelism: above.parallelism, ..ChainMeta::fed_by(edge) };
        Exchanged::new()
    }

    fn split_meta<T: Record>(&mut self) -> (Vec<OperatorId>, EdgeId) {
        let last = self.meta.operators.pop().into_iter().collect();
        let record = self.graph.output_of::<T>(self.meta);
        (last, self.graph.edge(Partitioning::Forward, record))
    }
}
