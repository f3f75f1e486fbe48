//! What the host told, written where programs look for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use holm_api::link::Configure;
use holm_api::network::{GATEWAY_NAME, GATEWAY_V4, GATEWAY_V6, HOST_NAMES, HOST_V4, HOST_V6};

use super::boot::{BootError, failed};
use crate::layout::Layout;

/// Writes them below `root`, `configure.json` for the engine included.
pub(super) fn write_all(root: &Path, layout: &Layout, configure: &Configure) -> Result<(), BootError> {
    let files = [
        ("etc/hostname", format!("{}\n", configure.hostname)),
        ("etc/hosts", hosts(&configure.hostname)),
        // The gateway answers DNS questions by the host's own resolver.
        ("etc/resolv.conf", format!("nameserver {GATEWAY_V4}\n")),
        // Debian's place for it, which OpenSSL, curl and Go look at.
        ("etc/ssl/certs/ca-certificates.crt", configure.root_certificates.clone()),
    ];
    for (path, text) in files {
        write(&root.join(path), &text).map_err(failed(format!("write /{path}")))?;
    }
    write_private(&layout.configure(), configure).map_err(failed("tell the engine what the host told"))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

/// It holds a token and the proxies' passwords.
fn write_private(path: &Path, configure: &Configure) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let bytes = serde_json::to_vec(configure)?;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&bytes)
}

fn hosts(hostname: &str) -> String {
    let mut text =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n");
    for name in HOST_NAMES {
        text += &entries(name, HOST_V4.into(), HOST_V6.into());
    }
    text + &entries(GATEWAY_NAME, GATEWAY_V4.into(), GATEWAY_V6.into())
}

fn entries(name: &str, v4: IpAddr, v6: IpAddr) -> String {
    format!("{v4}\t{name}\n{v6}\t{name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    use holm_api::link::{Registries, Token};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn everything_is_where_programs_look_for_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("data"), root.path().join("run/holm"));
        let configure = Configure {
            unix_nanos: 1,
            hostname: "holm".into(),
            network_token: Token([7; 32]),
            services_token: Token([8; 32]),
            root_certificates: "-----BEGIN CERTIFICATE-----\n".into(),
            registries: Registries::default(),
            routes: Vec::new(),
            proxy: None,
            hypervisor: "qemu".into(),
            image_digest: None,
            binds: holm_api::link::Binds::Served,
        };
        write_all(root.path(), &layout, &configure).unwrap();

        let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("etc/resolv.conf"), "nameserver 192.168.65.1\n");
        assert_eq!(read("etc/hostname"), "holm\n");
        assert!(read("etc/hosts").contains("192.168.65.254\thost.docker.internal\n"));
        assert_eq!(read("etc/ssl/certs/ca-certificates.crt"), configure.root_certificates);
        let told: Configure = serde_json::from_str(&read("run/holm/configure.json")).unwrap();
        assert_eq!(told, configure);
        assert_eq!(fs::metadata(layout.configure()).unwrap().mode() & 0o777, 0o600);
    }
}
