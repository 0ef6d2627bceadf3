//! The user's settings for the processes of a cluster.

use crate::auth::Secret;
use core::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thalweg_kernel::JobObserver;

/// How a coordinator and its workers notice each other's death: each sends a heartbeat every `interval`, and a side that was silent for `timeout` is dead.
/// By default a death is noticed within three seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The time between two heartbeats.
    pub interval: Duration,
    /// The silence after which the other side is dead; at least twice the interval.
    pub timeout: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), timeout: Duration::from_millis(2500) }
    }
}

impl Heartbeat {
    /// The longest timeout. With a longer one, deadlines would exceed the range of the wire format.
    const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

    pub(super) fn check(&self) -> Result<(), String> {
        let Self { interval, timeout } = *self;
        if interval < Duration::from_millis(1) {
            return Err("the heartbeat interval must be at least 1ms".to_owned());
        }
        if timeout < 2 * interval || timeout > Self::TIMEOUT_MAX {
            return Err(format!(
                "the heartbeat timeout must be at least twice the interval of {interval:?} and at most a day, not {timeout:?}"
            ));
        }
        Ok(())
    }
}

/// The time for a dead worker to be restarted. A job that has lost a worker goes on within five seconds, even if nobody restarts it: that holds with the
/// usual delay before a restart, and time to restore.
const WORKER_WAIT: Duration = Duration::from_secs(2);

/// How a coordinator finds its workers.
///
/// ```
/// # mod thalweg { pub use thalweg_cluster as cluster; }
/// use std::time::Duration;
/// use thalweg::cluster::ClusterConfig;
///
/// let config = ClusterConfig::new("127.0.0.1:7100".parse().unwrap(), 2)
///     .options(vec!["--input".to_owned(), "flights".to_owned()])
///     .worker_wait(Duration::from_secs(10));
/// assert_eq!(config.workers, 2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The address at which workers register. An address reachable from outside this machine demands a [`secret`](Self::secret).
    pub listen: SocketAddr,
    /// The number of workers the job starts with.
    pub workers: usize,
    /// How long a job that has begun before, and lost a worker or its coordinator, waits for the full number of workers before it goes on with those available.
    pub worker_wait: Duration,
    /// How deaths are noticed. The coordinator passes it on to the workers.
    pub heartbeat: Heartbeat,
    /// Workers that do not know the secret are refused.
    pub secret: Option<Secret>,
    /// The fingerprint of this program ([`binary_fingerprint`](super::binary_fingerprint)). Workers with a different fingerprint are refused.
    pub binary: u64,
    /// The options from which every worker builds the job.
    pub options: Vec<String>,
}

impl ClusterConfig {
    /// A coordinator at `listen` of a job for `workers` workers.
    #[must_use]
    pub fn new(listen: SocketAddr, workers: usize) -> Self {
        let (heartbeat, worker_wait) = (Heartbeat::default(), WORKER_WAIT);
        Self { listen, workers, worker_wait, heartbeat, secret: None, binary: 0, options: Vec::new() }
    }

    /// Sets [`worker_wait`](Self#structfield.worker_wait).
    #[must_use]
    pub fn worker_wait(self, worker_wait: Duration) -> Self {
        Self { worker_wait, ..self }
    }

    /// Sets [`heartbeat`](Self#structfield.heartbeat).
    #[must_use]
    pub fn heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat, ..self }
    }

    /// Sets [`secret`](Self#structfield.secret).
    #[must_use]
    pub fn secret(self, secret: impl Into<Option<Secret>>) -> Self {
        Self { secret: secret.into(), ..self }
    }

    /// Sets [`binary`](Self#structfield.binary).
    #[must_use]
    pub fn binary(self, fingerprint: u64) -> Self {
        Self { binary: fingerprint, ..self }
    }

    /// Sets [`options`](Self#structfield.options).
    #[must_use]
    pub fn options(self, options: Vec<String>) -> Self {
        Self { options, ..self }
    }

    /// Checks the configuration; `Err` says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.workers == 0 {
            return Err("a cluster needs at least one worker".to_owned());
        }
        self.heartbeat.check()?;
        demand_secret("the coordinator", self.listen, self.secret.as_ref())
    }
}

/// How a worker finds its coordinator, and others find it.
///
/// ```
/// # mod thalweg { pub use thalweg_cluster as cluster; }
/// use thalweg::cluster::WorkerConfig;
///
/// let config = WorkerConfig::new("127.0.0.1:7100".parse().unwrap(), 2);
/// assert!(config.data.ip().is_loopback());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// The address at which the coordinator listens.
    pub coordinator: SocketAddr,
    /// The number of cores on which the worker runs subtasks.
    pub cores: usize,
    /// The address at which core 0 listens for the frames of other workers, who reach it there; core `n` listens at the port plus `n`, or with port 0 every
    /// core at a free port. An address reachable from outside this machine demands a [`secret`](Self::secret).
    pub data: SocketAddr,
    /// How the coordinator's death is noticed until the coordinator has sent its own setting.
    pub heartbeat: Heartbeat,
    /// Coordinators and workers that do not know the secret are refused.
    pub secret: Option<Secret>,
    /// The fingerprint of this program ([`binary_fingerprint`](super::binary_fingerprint)).
    pub binary: u64,
    /// The longest time between two attempts to reach the coordinator.
    pub reconnect_max: Duration,
    /// The observers of this worker, from the first job on that it joins.
    pub observers: Vec<Arc<dyn JobObserver>>,
}

impl WorkerConfig {
    /// A worker with `cores` cores for the coordinator at `coordinator`. Other workers reach it on this machine.
    #[must_use]
    pub fn new(coordinator: SocketAddr, cores: usize) -> Self {
        let data = SocketAddr::from(([127, 0, 0, 1], 0));
        let (heartbeat, reconnect_max) = (Heartbeat::default(), Duration::from_secs(1));
        Self { coordinator, cores, data, heartbeat, secret: None, binary: 0, reconnect_max, observers: Vec::new() }
    }

    /// Sets [`data`](Self#structfield.data).
    #[must_use]
    pub fn data(self, data: SocketAddr) -> Self {
        Self { data, ..self }
    }

    /// Sets [`heartbeat`](Self#structfield.heartbeat).
    #[must_use]
    pub fn heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat, ..self }
    }

    /// Sets [`secret`](Self#structfield.secret).
    #[must_use]
    pub fn secret(self, secret: impl Into<Option<Secret>>) -> Self {
        Self { secret: secret.into(), ..self }
    }

    /// Sets [`binary`](Self#structfield.binary).
    #[must_use]
    pub fn binary(self, fingerprint: u64) -> Self {
        Self { binary: fingerprint, ..self }
    }

    /// Adds an observer to the [`observers`](Self#structfield.observers).
    #[must_use]
    pub fn observer(mut self, observer: impl JobObserver) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Sets [`reconnect_max`](Self#structfield.reconnect_max).
    #[must_use]
    pub fn reconnect_max(self, reconnect_max: Duration) -> Self {
        Self { reconnect_max, ..self }
    }

    /// The address at which core `core` listens for frames.
    pub(super) fn door(&self, core: usize) -> SocketAddr {
        let offset = if self.data.port() == 0 { 0 } else { u16::try_from(core).unwrap_or(u16::MAX) };
        SocketAddr::new(self.data.ip(), self.data.port().saturating_add(offset))
    }

    /// Checks the configuration; `Err` says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.cores == 0 {
            return Err("a worker needs at least one core".to_owned());
        }
        if self.data.port() != 0 && usize::from(u16::MAX - self.data.port()) < self.cores - 1 {
            return Err(format!("there are not {} ports from {} on: choose a lower one, or 0 for any", self.cores, self.data.port()));
        }
        if self.data.ip().is_unspecified() {
            return Err(format!("other workers cannot reach {}: give the address by which they reach this machine", self.data.ip()));
        }
        if self.reconnect_max < Duration::from_millis(1) {
            return Err("the time between two attempts to reach the coordinator must be at least 1ms".to_owned());
        }
        self.heartbeat.check()?;
        demand_secret("a worker", self.data, self.secret.as_ref())
    }
}

/// Anybody can connect to an address reachable from outside this machine, so it demands a secret.
fn demand_secret(who: &str, address: SocketAddr, secret: Option<&Secret>) -> Result<(), String> {
    if address.ip().is_loopback() || secret.is_some() {
        return Ok(());
    }
    Err(format!(
        "{who} that can be reached from other machines, at {address}, needs a secret: give every process of the cluster the same one, or use an address \
         of this machine alone such as 127.0.0.1"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn a_secret() -> Secret {
        Secret::new("0123456789abcdef").unwrap()
    }

    #[test]
    fn an_address_that_others_reach_demands_a_secret_and_says_the_cure() {
        for address in ["0.0.0.0:7100", "10.0.0.1:7100", "[::]:7100", "[fe80::1]:1"] {
            let config = ClusterConfig::new(at(address), 2);
            assert!(config.check().unwrap_err().contains("needs a secret: give every process"), "{address}");
            assert_eq!(config.secret(a_secret()).check(), Ok(()));
        }
        for address in ["127.0.0.1:7100", "127.9.9.9:0", "[::1]:7100"] {
            assert_eq!(ClusterConfig::new(at(address), 2).check(), Ok(()));
            assert_eq!(WorkerConfig::new(at("10.0.0.1:7100"), 1).data(at(address)).check(), Ok(()));
        }
        let outside = WorkerConfig::new(at("127.0.0.1:1"), 1).data(at("10.0.0.1:0"));
        assert!(outside.check().unwrap_err().contains("needs a secret"));
        assert_eq!(outside.secret(a_secret()).check(), Ok(()));
    }

    #[test]
    fn what_could_not_work_is_refused() {
        let worker = || WorkerConfig::new(at("127.0.0.1:7100"), 2);
        let heartbeat =
            |interval, timeout| Heartbeat { interval: Duration::from_millis(interval), timeout: Duration::from_millis(timeout) };
        let wrong = [
            ClusterConfig::new(at("127.0.0.1:1"), 0).check(),
            ClusterConfig::new(at("127.0.0.1:1"), 1).heartbeat(heartbeat(0, 100)).check(),
            ClusterConfig::new(at("127.0.0.1:1"), 1).heartbeat(heartbeat(60, 100)).check(),
            worker().heartbeat(heartbeat(1, 1_000_000_000)).check(),
            worker().data(at("127.0.0.1:65535")).check(),
            worker().data(at("0.0.0.0:0")).secret(a_secret()).check(),
            WorkerConfig::new(at("127.0.0.1:1"), 0).check(),
            worker().reconnect_max(Duration::ZERO).check(),
        ];
        for wrong in wrong {
            assert!(wrong.is_err());
        }
        assert_eq!(worker().data(at("127.0.0.1:65534")).check(), Ok(()));
    }

    #[test]
    fn cores_listen_one_port_after_the_other_or_anywhere() {
        let worker = WorkerConfig::new(at("127.0.0.1:7100"), 3);
        assert_eq!(worker.door(2), at("127.0.0.1:0"));
        assert_eq!(worker.data(at("127.0.0.1:7200")).door(2), at("127.0.0.1:7202"));
    }

    #[test]
    fn a_configuration_does_not_show_its_secret() {
        let config = ClusterConfig::new(at("127.0.0.1:1"), 1).secret(a_secret());
        assert!(!format!("{config:?}").contains("0123456789"));
    }
}
