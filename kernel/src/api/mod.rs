//! The API: streams that are described by calling methods on them.

mod connected_streams;
mod environment;
mod keyed_stream;
mod stream;

pub use connected_streams::{ConnectedStreams, KeyedConnectedStreams};
pub use environment::StreamExecutionEnvironment;
pub use keyed_stream::{KeyedStream, WindowedStream};
pub use stream::{DataStream, DataStreamSink, SharedStream};
