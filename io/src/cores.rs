//! Threads, one per core.

use crate::{Io, LocalBoxFuture};

/// The number of a core within its [`CoreGroup`], from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub usize);

/// The main function of a core: made elsewhere, called once on the core's own thread. The core ends when the future does; tasks that are still under way
/// are dropped.
pub type CoreMain = Box<dyn FnOnce(CoreId, Io) -> LocalBoxFuture<()> + Send>;

/// Why cores could not be started. The message names the cause and the cure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kernel, a seccomp filter or a container policy forbids io_uring.
    #[error("io_uring is not available here ({reason}); {cure}")]
    IoUringForbidden {
        /// The system's error.
        reason: String,
        /// How the user can solve it.
        cure: String,
    },
    /// A ring cannot be created now: a resource is used up that other processes may free.
    #[error("io_uring is not available here for now ({reason}); {cure}")]
    NoRing {
        /// The system's error.
        reason: String,
        /// How the user can solve it.
        cure: String,
    },
    /// The limit on locked memory is too low for the rings.
    #[error("the limit on locked memory is {limit_bytes} bytes and {needed_bytes} are needed; raise it with `ulimit -l {}` or LimitMEMLOCK= in systemd", needed_bytes.div_ceil(1024))]
    MemlockTooLow {
        /// The limit in force, in bytes.
        limit_bytes: u64,
        /// The limit that would be enough, in bytes.
        needed_bytes: u64,
    },
    /// A core is to be pinned to a CPU that does not exist, or that this process may not use.
    #[error("CPU {cpu} is not one that this process may use, which are {usable:?}")]
    NoSuchCpu {
        /// The number of the CPU.
        cpu: usize,
        /// The CPUs that this process may use.
        usable: Vec<usize>,
    },
    /// Any other failure: a thread could not be created, for instance.
    #[error("cannot start core {core}: {reason}")]
    Other {
        /// The core that failed.
        core: usize,
        /// The system's error.
        reason: String,
    },
}

/// Starts threads pinned to cores (or what the simulator runs in their place).
pub trait Cores: Send + Sync {
    /// The number of cores available for pinning.
    fn available(&self) -> usize;

    /// Starts one core per element of `mains`, or none.
    ///
    /// # Errors
    /// See [`StartError`].
    fn start(&self, mains: Vec<CoreMain>) -> Result<Box<dyn CoreGroup>, StartError>;
}

/// A group of cores that were started together.
pub trait CoreGroup: Send {
    /// Waits until every core has ended. In the simulator, where waiting would stop the world, returns at once.
    fn join(self: Box<Self>);
}

/// Blocks the current thread, which must not be a core, until `future` is done.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
