//! `GET /containers/{name}/stats`: once, or every second. A client that reads slowly gets later samples, not more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::find;
use super::inspect::time;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply::{self, Gone, Pieces};
use crate::api::version::ApiVersion;
use crate::engine::{Container, Engine, Sample, State as Stage};

/// As often as moby measures.
const PERIOD: Duration = Duration::from_secs(1);

/// What moby tells of the kernel's account of memory.
const ACCOUNT: [&str; 31] = [
    "active_anon",
    "active_file",
    "anon",
    "anon_thp",
    "file",
    "file_dirty",
    "file_mapped",
    "file_writeback",
    "inactive_anon",
    "inactive_file",
    "kernel_stack",
    "pgactivate",
    "pgdeactivate",
    "pgfault",
    "pglazyfree",
    "pglazyfreed",
    "pgmajfault",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "shmem",
    "slab",
    "slab_reclaimable",
    "slab_unreclaimable",
    "sock",
    "thp_collapse_alloc",
    "thp_fault_alloc",
    "unevictable",
    "workingset_activate",
    "workingset_nodereclaim",
    "workingset_refault",
];

/// `GET /containers/{name}/stats`
pub(super) async fn stats(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    if query.flag_or("stream", true) {
        return Ok(reply::streaming("application/json", async move |pieces| {
            stream(&engine, &container, pieces).await
        }));
    }
    let mut sample = engine.measure(&container).await?;
    let mut before = None;
    let one = query.flag("one-shot") && version >= ApiVersion::one(41);
    if sample.is_some() && !one {
        tokio::time::sleep(PERIOD).await;
        before = std::mem::replace(&mut sample, engine.measure(&container).await?);
    }
    let body = body(&engine, &container, sample.as_ref(), before.as_ref());
    Ok(reply::json(StatusCode::OK, &body))
}

/// Until the client goes away, or the container: one that only ended may be started again.
async fn stream(engine: &Engine, container: &Container, pieces: Pieces) -> Result<(), Gone> {
    let mut ticks = interval_at(Instant::now(), PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = container.watch();
    let mut before = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = status.wait_for(|status| status.life.state == Stage::Removed) => return Ok(()),
        }
        let sample = match engine.measure(container).await {
            Ok(sample) => sample,
            Err(error) => {
                tracing::warn!("{} cannot be measured: {error}", container.id().short());
                None
            }
        };
        pieces.send_json(&body(engine, container, sample.as_ref(), before.as_ref())).await?;
        before = sample;
    }
}

/// Of a container that does not run only who it is; the rest is zero, or not there.
fn body(engine: &Engine, container: &Container, sample: Option<&Sample>, before: Option<&Sample>) -> Value {
    let definition = container.definition();
    let mut body = json!({
        "name": format!("/{}", definition.name),
        "id": definition.id.as_str(),
        "read": time(sample.map(|sample| sample.at)),
        "preread": time(before.map(|sample| sample.at)),
        "pids_stats": pids(sample),
        "blkio_stats": disks(sample),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": processors(sample),
        "precpu_stats": processors(before),
        "memory_stats": memory(sample, engine.machine().memory()),
    });
    if let Some(sample) = sample.filter(|sample| !sample.interfaces.is_empty()) {
        body["networks"] = networks(sample);
    }
    body
}

fn pids(sample: Option<&Sample>) -> Value {
    match sample.and_then(|sample| sample.usage.pids) {
        // All bits are how Go's clients know "no limit".
        Some(pids) => json!({ "current": pids.number, "limit": pids.limit.unwrap_or(u64::MAX) }),
        None => json!({}),
    }
}

fn disks(sample: Option<&Sample>) -> Value {
    let disks = sample.map(|sample| sample.usage.disks.as_slice()).unwrap_or_default();
    let entries = disks.iter().flat_map(|disk| {
        [("read", disk.read), ("write", disk.written)].map(
            |(operation, bytes)| json!({ "major": disk.major, "minor": disk.minor, "op": operation, "value": bytes }),
        )
    });
    let entries: Vec<Value> = entries.collect();
    json!({
        "io_service_bytes_recursive": (!entries.is_empty()).then_some(entries),
        "io_serviced_recursive": null, "io_queue_recursive": null, "io_service_time_recursive": null,
        "io_wait_time_recursive": null, "io_merged_recursive": null, "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn processors(sample: Option<&Sample>) -> Value {
    let cpu = sample.map(|sample| sample.usage.cpu).unwrap_or_default();
    let nanos = |micros: u64| micros.saturating_mul(1000);
    let mut stats = json!({
        "cpu_usage": {
            "total_usage": nanos(cpu.total),
            "usage_in_kernelmode": nanos(cpu.system),
            "usage_in_usermode": nanos(cpu.user),
        },
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": nanos(cpu.throttled),
        },
    });
    if let Some(sample) = sample {
        stats["system_cpu_usage"] = json!(sample.machine_nanos);
        stats["online_cpus"] = json!(sample.processors);
    }
    stats
}

fn memory(sample: Option<&Sample>, machine: u64) -> Value {
    let Some(memory) = sample.and_then(|sample| sample.usage.memory.as_ref()) else { return json!({}) };
    let account: Map<String, Value> = ACCOUNT
        .iter()
        .map(|name| ((*name).to_owned(), json!(memory.account.get(*name).copied().unwrap_or(0))))
        .collect();
    let mut stats = json!({
        "usage": memory.bytes,
        "stats": account,
        // No container can have more than there is.
        "limit": memory.limit.filter(|limit| *limit < machine).unwrap_or(machine),
    });
    if memory.failures > 0 {
        stats["failcnt"] = json!(memory.failures);
    }
    stats
}

fn networks(sample: &Sample) -> Value {
    let interfaces = sample.interfaces.iter().map(|counters| {
        let (received, sent) = (counters.received, counters.sent);
        let stats = json!({
            "rx_bytes": received.bytes, "rx_packets": received.packets, "rx_errors": received.errors,
            "rx_dropped": received.dropped, "tx_bytes": sent.bytes, "tx_packets": sent.packets,
            "tx_errors": sent.errors, "tx_dropped": sent.dropped,
        });
        (counters.interface.clone(), stats)
    });
    Value::Object(interfaces.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::usage::{CpuUsage, DiskUsage, MemoryUsage, PidsUsage, Usage};
    use crate::network::Counters;

    fn sample() -> Sample {
        Sample {
            at: chrono::DateTime::UNIX_EPOCH,
            usage: Usage {
                cpu: CpuUsage { total: 5, ..CpuUsage::default() },
                memory: Some(MemoryUsage { bytes: 7, ..MemoryUsage::default() }),
                pids: Some(PidsUsage { number: 1, limit: None }),
                disks: vec![DiskUsage { major: 8, minor: 0, read: 3, written: 4 }],
            },
            machine_nanos: 9,
            processors: 2,
            interfaces: vec![Counters { interface: "eth0".into(), ..Counters::default() }],
        }
    }

    #[test]
    fn a_sample_is_told_in_the_units_of_the_api() {
        let sample = sample();
        assert_eq!(processors(Some(&sample))["cpu_usage"]["total_usage"], 5000);
        assert_eq!(processors(Some(&sample))["online_cpus"], 2);
        assert_eq!(memory(Some(&sample), 100)["limit"], 100);
        assert_eq!(memory(Some(&sample), 100)["stats"]["inactive_file"], 0);
        assert_eq!(pids(Some(&sample))["limit"], u64::MAX);
        assert_eq!(disks(Some(&sample))["io_service_bytes_recursive"][1]["value"], 4);
        assert_eq!(networks(&sample)["eth0"]["rx_bytes"], 0);
    }

    #[test]
    fn of_what_does_not_run_only_zeros_are_told() {
        assert_eq!((pids(None), memory(None, 5)), (json!({}), json!({})));
        assert_eq!(disks(None)["io_service_bytes_recursive"], Value::Null);
        assert_eq!(processors(None).get("online_cpus"), None);
        assert_eq!(processors(None)["cpu_usage"]["total_usage"], 0);
    }
}
