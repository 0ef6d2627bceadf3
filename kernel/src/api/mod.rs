//! The API: streams that are described by calling methods on them.

mod environment;
mod keyed_stream;
mod stream;

pub use environment::StreamExecutionEnvironment;
pub use keyed_stream::{KeyedStream, WindowedStream};
pub use stream::{DataStream, DataStreamSink, SharedStream};
