//! Options about exporting the job's metrics to Prometheus.

use clap::ValueEnum;
use core::net::{Ipv4Addr, SocketAddr};
use thalweg_kernel::StreamExecutionEnvironment;
use thalweg_metrics::{MetricNames, MetricsEndpoint};

/// By which names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Names {
    /// Thalweg's own, in Prometheus' style
    #[default]
    Thalweg,
    /// Those, and beside them the names of Flink's reporter, for dashboards that have them
    Flink,
}

/// Where the numbers are shown, and by which names.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Metrics options")]
pub(super) struct MetricsOptions {
    /// Show the job's numbers to Prometheus at http://ADDRESS/metrics; a port alone is one of the loopback interface
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    metrics_listen: Option<SocketAddr>,

    /// The names of the numbers
    #[arg(long, value_name = "NAMES", value_enum, default_value_t, requires = "metrics_listen")]
    metrics_names: Names,
}

impl MetricsOptions {
    /// The endpoint of the metrics, if one is wanted.
    pub(super) fn endpoint(&self) -> Option<MetricsEndpoint> {
        let names = match self.metrics_names {
            Names::Thalweg => MetricNames::Thalweg,
            Names::Flink => MetricNames::WithFlink,
        };
        self.metrics_listen.map(|listen| MetricsEndpoint::new(listen).with_names(names))
    }

    pub(super) fn apply(&self, env: &StreamExecutionEnvironment) {
        if let Some(endpoint) = self.endpoint() {
            env.add_observer(endpoint);
        }
    }
}

/// Parses an address; a port alone is one of the loopback interface.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => {
            text.parse().map_err(|_| "write for example 127.0.0.1:9249, [::1]:9249 or 9249; names of hosts are not looked up".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        assert_eq!(address("9249"), Ok(SocketAddr::from(([127, 0, 0, 1], 9249))));
        assert_eq!(address("0.0.0.0:80").map(|address| address.to_string()), Ok("0.0.0.0:80".to_owned()));
        assert_eq!(address("[::1]:9249").map(|address| address.port()), Ok(9249));
        for wrong in ["", "localhost:9249", "127.0.0.1", "70000"] {
            assert!(address(wrong).is_err_and(|message| message.contains("write for example")), "{wrong}");
        }
    }
}
