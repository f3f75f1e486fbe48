//! Linux and macOS.

mod blocking;
mod connect;
mod credentials;
mod detached;
mod ending;
mod files;
mod limits;
mod listen;
mod network;
mod ports;
pub(crate) mod signals;
pub(crate) mod terminal;
mod user;

pub(crate) use blocking::into_socket;
pub(crate) use connect::connect;
pub(crate) use credentials::{CREDENTIAL_STORES, SEARCH_PATH, SYSTEM_CERTIFICATES};
pub(crate) use detached::spawn_detached;
pub(crate) use ending::told_to_end;
pub(crate) use files::{
    bytes_taken, create_private_file, create_private_folder, free_space, give_to_owner_of, identity,
    may_write, open_directory, set_mode, special_file, symlink, sync_folder,
};
pub(crate) use limits::raise_open_files;
pub(crate) use listen::{Client, Listener};
pub(crate) use network::{routes, routes_v6};
pub(crate) use ports::{dynamic_ports, is_missing_family, low_port_hint, reuse_address};
pub(crate) use user::is_root;
