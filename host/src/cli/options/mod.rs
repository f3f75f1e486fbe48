//! What flags' values mean, one kind a file: text in, the Engine API's JSON or a number out, complaints in
//! the words of Docker's own options. Nothing here reads files, names or clocks.

mod address;
mod csv;
mod device;
mod gpus;
mod limits;
mod mount;
mod network;
mod number;
mod ports;
mod restart;
mod size;
mod sysctl;
mod volume;

pub(crate) use address::{domain, extra_host, ip_address, is_mac_address, link};
pub(crate) use csv::{csv_fields, csv_pairs};
pub(crate) use device::{cgroup_rule, is_cdi_name, mapping};
pub(crate) use gpus::gpu_request;
pub(crate) use limits::{Throttle, Ulimit, WeightDevice, throttle_bytes, throttle_operations, weight_device};
pub(crate) use mount::mount;
pub(crate) use network::Attachment;
pub(crate) use number::{cpus, duration, integer, unsigned_16};
pub(crate) use ports::{exposed, published};
pub(crate) use restart::restart_policy;
pub(crate) use size::{bytes, swap_bytes};
pub(crate) use sysctl::sysctl;
pub(crate) use volume::{VolumeSpec, absolute};
