//! Options of the processes of a cluster.
//!
//! The secret itself is never an argument: everybody on a machine can read arguments.

use super::metrics_options::{MetricsOptions, address};
use super::on_core::on_core;
use super::options::CORES_MAX;
use super::spans::{duration, positive_duration};
use clap::builder::RangedU64ValueParser;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thalweg_cluster::{ClusterConfig, Heartbeat, Secret, WorkerConfig, binary_fingerprint};
use thalweg_io::uring::{UringCores, machine};
use thalweg_io::{Buffer, Cores, Io, OpenMode};
use thalweg_kernel::JobError;

/// The default address of a coordinator.
const COORDINATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7100);

/// The environment variable that may hold the secret.
const SECRET: &str = "THALWEG_SECRET";

/// The bytes read from a secret file; more than a secret may have, so that a too long file is noticed.
const SECRET_FILE_BYTES_MAX: usize = 8 << 10;

/// The permission bit that lets other users read a file.
const OTHERS_MAY_READ: u32 = 0o004;

/// What coordinator and workers have in common.
#[derive(Clone, Debug, clap::Args)]
struct ProcessOptions {
    /// A file with the secret that all processes of the cluster share; the environment variable THALWEG_SECRET may hold it instead
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// The CPUs that this process is pinned to, one for each core in turn [default: none, so that several processes on a machine do not meet on one]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
}

impl ProcessOptions {
    /// Without CPUs of its own an idle core gives its CPU back at once: another process may want it.
    fn cores(&self) -> UringCores {
        let cores = UringCores::new().on_cpus(self.cpus.clone());
        if self.cpus.is_empty() { cores.with_spin_limit(0) } else { cores }
    }

    /// The fingerprint of the program, and the secret if there is one.
    fn identity(&self) -> Result<(u64, Option<Secret>), JobError> {
        let secret_file = self.secret_file.clone();
        let (binary, secret) = on_core(move |io| {
            Box::pin(async move {
                let secret = match secret_file {
                    Some(path) => {
                        warn_of_readers(&path);
                        Some(read_secret(&io, &path).await)
                    }
                    None => None,
                };
                (binary_fingerprint(&io).await, secret)
            })
        })?;
        let binary = binary.map_err(|error| JobError::invalid(format!("the program's own file cannot be read: {error}")))?;
        let from_environment =
            || std::env::var(SECRET).ok().map(|secret| Secret::new(secret).map_err(|error| format!("{SECRET}: {error}")));
        let secret = secret.or_else(from_environment).transpose().map_err(JobError::invalid)?;
        Ok((binary, secret))
    }
}

/// Warns if everybody on the machine can read the secret. That does not prevent the start: the machine may have only one user.
fn warn_of_readers(path: &Path) {
    // If the file cannot be read, the code that reads it reports that.
    if let Some(mode) = machine::permissions(path).ok().filter(|mode| mode & OTHERS_MAY_READ != 0) {
        let file = path.display();
        tracing::warn!(
            target: "thalweg::job",
            %file,
            mode = %format_args!("{mode:03o}"),
            "everybody on this machine can read the secret: run `chmod 600 {file}`"
        );
    }
}

async fn read_secret(io: &Io, path: &Path) -> Result<Secret, String> {
    let read = async {
        let file = io.disk().open(path, OpenMode::Read).await?;
        file.read_at(0, Buffer::with_capacity(SECRET_FILE_BYTES_MAX)).await
    };
    let bytes = read.await.map_err(|error| format!("the secret cannot be read: {error}"))?;
    Secret::new(&bytes[..]).map_err(|error| format!("{}: {error}", path.display()))
}

/// Options of `coordinator`, besides those of `run`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster options")]
pub(super) struct CoordinatorOptions {
    /// Where workers report; a port alone is one of the loopback interface, anything else demands a secret
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value_t = COORDINATOR)]
    listen: SocketAddr,

    /// How many workers the job begins with
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    workers: usize,

    /// How long a job that has begun before waits for missing workers before it goes on with those that are there [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    worker_wait: Option<Duration>,

    /// Time between two signs of life, of the coordinator and of each worker [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    heartbeat_interval: Option<Duration>,

    /// The silence after which another process is dead; at least twice the interval [default: 2s 500ms]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    heartbeat_timeout: Option<Duration>,

    #[command(flatten)]
    process: ProcessOptions,
}

impl CoordinatorOptions {
    /// The cores to start on, and the configuration of the cluster; its workers are told `options`.
    pub(super) fn config(&self, options: Vec<String>) -> Result<(UringCores, ClusterConfig), JobError> {
        let (binary, secret) = self.process.identity()?;
        let usual = ClusterConfig::new(self.listen, self.workers);
        let heartbeat = Heartbeat {
            interval: self.heartbeat_interval.unwrap_or(usual.heartbeat.interval),
            timeout: self.heartbeat_timeout.unwrap_or(usual.heartbeat.timeout),
        };
        let worker_wait = self.worker_wait.unwrap_or(usual.worker_wait);
        let config = usual.worker_wait(worker_wait).heartbeat(heartbeat).secret(secret).binary(binary).options(options);
        Ok((self.process.cores(), config))
    }
}

/// Options of `worker`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct WorkerOptions {
    /// Where the coordinator listens
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value_t = COORDINATOR)]
    coordinator: SocketAddr,

    /// Threads to run subtasks on [default: as many as there are CPUs]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=CORES_MAX))]
    cores: Option<usize>,

    /// Where other workers reach this one: core n listens at PORT + n, at free ports if PORT is 0. Not loopback: demands a secret
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address, default_value = "127.0.0.1:0")]
    data: SocketAddr,

    /// Print nothing but errors
    #[arg(long, short)]
    pub(super) quiet: bool,

    #[command(flatten)]
    process: ProcessOptions,

    #[command(flatten)]
    metrics: MetricsOptions,
}

impl WorkerOptions {
    /// The cores to start on, and the configuration of the worker.
    pub(super) fn config(&self) -> Result<(UringCores, WorkerConfig), JobError> {
        let (binary, secret) = self.process.identity()?;
        let count = self.cores.unwrap_or_else(|| UringCores::new().available());
        let config = WorkerConfig::new(self.coordinator, count).data(self.data).secret(secret).binary(binary);
        let config = match self.metrics.endpoint() {
            Some(endpoint) => config.observer(endpoint),
            None => config,
        };
        Ok((self.process.cores(), config))
    }
}

/// The text sent to workers: the coordinator's working folder, and its arguments.
///
/// A worker changes to that folder. So every relative path, be it an option, the default of one or a constant of the program, means the same place for all,
/// and is written into results and checkpoints as by `run`. If only some paths were made absolute (those that can be told from other text), the rest would
/// quietly lead elsewhere.
pub(super) fn told(arguments: &[std::ffi::OsString]) -> Result<Vec<String>, JobError> {
    let folder =
        std::env::current_dir().map_err(|error| JobError::invalid(format!("the folder it is started in cannot be named: {error}")))?;
    let texts = std::iter::once(folder.as_os_str()).chain(arguments.iter().map(|argument| &**argument));
    let text = |text: &std::ffi::OsStr| {
        let not_unicode = || format!("{} cannot be told to workers: it is not valid UTF-8", text.display());
        text.to_str().map(str::to_owned).ok_or_else(not_unicode)
    };
    texts.map(text).collect::<Result<_, _>>().map_err(JobError::invalid)
}

/// Changes to the folder that the coordinator has named, and returns its arguments.
pub(super) fn follow(told: &[String]) -> Result<&[String], JobError> {
    let Some((folder, arguments)) = told.split_first() else {
        return Err(JobError::invalid("the coordinator was not started by its command line"));
    };
    std::env::set_current_dir(folder).map_err(|error| {
        JobError::invalid(format!(
            "the coordinator works in {folder}, and this worker cannot: {error}; start the coordinator in a folder that all machines have, such as /, and \
             name everything else by absolute paths"
        ))
    })?;
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn workers_are_told_the_folder_and_the_arguments_word_for_word() {
        let arguments = ["--input", "in put.csv"].map(Into::into);
        let told = told(&arguments).unwrap();
        assert_eq!(told[0], std::env::current_dir().unwrap().to_str().unwrap());
        assert_eq!(follow(&told).unwrap(), ["--input", "in put.csv"]);
        let error = super::told(&[std::ffi::OsString::from_vec(vec![0xff])]).unwrap_err().to_string();
        assert!(error.contains("not valid UTF-8"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_here_is_named_with_the_cure() {
        let error = follow(&["/no/such/folder".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder") && error.contains("absolute paths"), "{error}");
        assert!(follow(&[]).is_err());
    }
}
