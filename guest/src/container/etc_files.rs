//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: written into its folder and mounted
//! over the image's. Their contents are Docker's, line for line.

use std::fmt::Write;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Bytes of an `/etc/hosts` that is changed while its container runs.
const LONGEST_HOSTS: u64 = 1 << 20;

/// Where a container's files are.
#[derive(Clone, Debug)]
pub struct EtcFiles {
    /// `/etc/hosts`.
    pub hosts: PathBuf,
    /// `/etc/hostname`.
    pub hostname: PathBuf,
    /// `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

/// What the files say.
#[derive(Clone, Debug, Default)]
pub struct EtcContent {
    /// The container's host name.
    pub hostname: String,
    /// Its domain name, where it has one.
    pub domainname: Option<String>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// `--add-host`, checked and resolved: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Name servers, in order.
    pub nameservers: Vec<IpAddr>,
    /// `search` domains.
    pub search: Vec<String>,
    /// `options`.
    pub options: Vec<String>,
}

impl EtcFiles {
    /// The files' places in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            hosts: folder.join("hosts"),
            hostname: folder.join("hostname"),
            resolv_conf: folder.join("resolv.conf"),
        }
    }

    /// Writes all three in place: the container may be running, and its mounts are of these inodes.
    pub fn write(&self, content: &EtcContent) -> io::Result<()> {
        std::fs::write(&self.hostname, format!("{}\n", content.hostname))?;
        std::fs::write(&self.hosts, hosts(content))?;
        self.write_resolv_conf(content)
    }

    /// Writes one in place.
    pub fn write_resolv_conf(&self, content: &EtcContent) -> io::Result<()> {
        std::fs::write(&self.resolv_conf, resolv_conf(content))
    }

    /// The container has lost some of its addresses and got others. What somebody wrote beside them stays.
    pub fn change_hosts(&self, content: &EtcContent, gone: &[IpAddr], come: &[IpAddr]) -> io::Result<()> {
        let text = self.read_hosts()?;
        std::fs::write(&self.hosts, changed_hosts(&text, content, gone, come))
    }

    /// Lines whose first name is one of `names` get, in place of theirs, the first address of the same family.
    pub fn move_hosts(&self, names: &[&str], addresses: &[IpAddr]) -> io::Result<()> {
        let text = self.read_hosts()?;
        let moved = moved_hosts(&text, names, addresses);
        // Usually it is the address that was there.
        if moved == text { Ok(()) } else { std::fs::write(&self.hosts, moved) }
    }

    /// The container may have written anything to it.
    fn read_hosts(&self) -> io::Result<String> {
        let mut text = String::new();
        let mut file = std::fs::File::open(&self.hosts)?.take(LONGEST_HOSTS + 1);
        file.read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST_HOSTS {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "/etc/hosts is too long"));
        }
        Ok(text)
    }
}

fn hosts(content: &EtcContent) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in &content.extra_hosts {
        line(&mut text, *address, name);
    }
    for address in &content.addresses {
        line(&mut text, *address, &own_names(content));
    }
    text
}

fn own_names(content: &EtcContent) -> String {
    let hostname = &content.hostname;
    match content.domainname.as_deref() {
        None | Some("") => hostname.clone(),
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
    }
}

fn changed_hosts(text: &str, content: &EtcContent, gone: &[IpAddr], come: &[IpAddr]) -> String {
    let names = own_names(content);
    let is_gone = |own: &str| gone.iter().any(|address| own == format!("{address}\t{names}"));
    let mut changed: String =
        text.lines().filter(|own| !is_gone(own)).flat_map(|kept| [kept, "\n"]).collect();
    come.iter().for_each(|address| line(&mut changed, *address, &names));
    changed
}

fn moved_hosts(text: &str, names: &[&str], addresses: &[IpAddr]) -> String {
    let mut moved = String::with_capacity(text.len());
    for own in text.lines() {
        let parts = own.split_once('\t').and_then(|(address, rest)| Some((address.parse().ok()?, rest)));
        let now = parts
            .filter(|(_, rest)| rest.split_whitespace().next().is_some_and(|first| names.contains(&first)));
        let now = now.and_then(|(before, rest): (IpAddr, _)| {
            Some((addresses.iter().find(|address| address.is_ipv4() == before.is_ipv4())?, rest))
        });
        match now {
            Some((address, rest)) => line(&mut moved, *address, rest),
            None => moved.extend([own, "\n"]),
        }
    }
    moved
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    writeln!(text, "{address}\t{names}").expect("a String takes everything");
}

fn resolv_conf(content: &EtcContent) -> String {
    let mut text = String::new();
    for server in &content.nameservers {
        writeln!(text, "nameserver {server}").expect("a String takes everything");
    }
    for (word, values) in [("search", &content.search), ("options", &content.options)] {
        if !values.is_empty() {
            writeln!(text, "{word} {}", values.join(" ")).expect("a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> EtcContent {
        EtcContent {
            hostname: "4c01db0b339c".into(),
            domainname: Some("example.com".into()),
            addresses: vec![[172, 17, 0, 2].into()],
            extra_hosts: vec![("host.docker.internal".into(), [192, 168, 65, 254].into())],
            nameservers: vec![[192, 168, 65, 1].into()],
            search: vec!["a.example".into(), "b.example".into()],
            options: vec!["ndots:2".into()],
        }
    }

    #[test]
    fn hosts_names_the_machine_what_was_added_and_the_container() {
        let text = hosts(&content());
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(text.ends_with(
            "192.168.65.254\thost.docker.internal\n172.17.0.2\t4c01db0b339c.example.com 4c01db0b339c\n"
        ));
    }

    #[test]
    fn a_linked_container_is_found_at_the_address_that_it_has_by_now() {
        let text = "172.17.0.2\tdb 4c01 real\n::2\tdb 4c01 real\n172.17.0.2\tdbx\nnonsense\tdb\n";
        let moved = moved_hosts(text, &["db"], &[[172, 17, 0, 9].into()]);
        assert_eq!(moved, text.replacen("172.17.0.2", "172.17.0.9", 1));
        assert_eq!(moved_hosts(text, &["store"], &[[172, 17, 0, 9].into()]), text);
    }

    #[test]
    fn what_a_container_made_of_its_hosts_is_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let files = EtcFiles::in_folder(folder.path());
        std::fs::write(&files.hosts, vec![b'#'; LONGEST_HOSTS as usize + 1]).unwrap();
        let refused = files.move_hosts(&["db"], &[[172, 17, 0, 9].into()]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn addresses_come_and_go_and_what_somebody_wrote_stays() {
        let text = format!("{}1.2.3.4\tmine\n", hosts(&content()));
        let changed = changed_hosts(&text, &content(), &content().addresses, &[[10, 1, 0, 2].into()]);
        assert!(changed.ends_with("1.2.3.4\tmine\n10.1.0.2\t4c01db0b339c.example.com 4c01db0b339c\n"));
        assert!(!changed.contains("172.17.0.2"));
    }

    #[test]
    fn resolv_conf_has_a_line_a_server_and_no_empty_ones() {
        assert_eq!(
            resolv_conf(&content()),
            "nameserver 192.168.65.1\nsearch a.example b.example\noptions ndots:2\n"
        );
        assert_eq!(resolv_conf(&EtcContent::default()), "");
    }

    #[test]
    fn a_rewrite_keeps_the_inode_that_a_container_has_mounted() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let files = EtcFiles::in_folder(folder.path());
        files.write(&content()).unwrap();
        let inode = std::fs::metadata(&files.hosts).unwrap().ino();
        files.write(&EtcContent { hostname: "x".into(), ..Default::default() }).unwrap();
        assert_eq!(std::fs::metadata(&files.hosts).unwrap().ino(), inode);
        assert_eq!(std::fs::read_to_string(&files.hostname).unwrap(), "x\n");
    }
}
