//! `update`: other limits and another restart policy for containers that are there.

use serde::Deserialize;
use serde_json::{Value, json};

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::options::{self, bytes, integer, restart_policy, swap_bytes, unsigned_16};
use crate::cli::session::{self, Session};

/// `holm update`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", value_parser = unsigned_16)]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", value_parser = integer)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", value_parser = integer)]
    cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int", value_parser = integer)]
    cpu_rt_period: Option<i64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", value_parser = integer)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int", value_parser = integer)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = options::cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = swap_bytes)]
    memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = integer)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Updated {
    warnings: Option<Vec<String>>,
}

/// Updates one after the other. The engine's warnings stand at the end, where Docker has them.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let body = args.body()?;
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    for container in &args.containers {
        let updated = async {
            let call = Call::post(container_path(container, "/update")?).json(&body)?;
            session.client.send(call).await?.json::<Updated>().await
        };
        match updated.await {
            Ok(updated) => {
                session::print_line(container)?;
                warnings.extend(updated.warnings.unwrap_or_default());
            }
            Err(error) => errors.push(error),
        }
    }
    for warning in warnings {
        session::print_line(&warning)?;
    }
    CliError::all(errors)
}

impl Args {
    /// What is to be another: a flag that was not given leaves its field out.
    fn body(&self) -> Result<Value, CliError> {
        let policy = match self.restart.as_deref() {
            Some("") | None => None,
            Some(text) => Some(restart_policy(text).map_err(CliError::said)?),
        };
        let fields = [
            ("BlkioWeight", json!(self.blkio_weight)),
            ("CpuPeriod", json!(self.cpu_period)),
            ("CpuQuota", json!(self.cpu_quota)),
            ("CpuRealtimePeriod", json!(self.cpu_rt_period)),
            ("CpuRealtimeRuntime", json!(self.cpu_rt_runtime)),
            ("CpuShares", json!(self.cpu_shares)),
            ("NanoCpus", json!(self.cpus)),
            ("CpusetCpus", json!(self.cpuset_cpus)),
            ("CpusetMems", json!(self.cpuset_mems)),
            ("Memory", json!(self.memory)),
            ("MemoryReservation", json!(self.memory_reservation)),
            ("MemorySwap", json!(self.memory_swap)),
            ("PidsLimit", json!(self.pids_limit)),
            ("RestartPolicy", json!(policy)),
        ];
        if self.restart.is_none() && fields.iter().all(|(_, value)| value.is_null()) {
            return Err(CliError::said("you must provide one or more flags when using this command"));
        }
        let given = fields.into_iter().filter(|(_, value)| !value.is_null());
        Ok(Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect()))
    }
}
