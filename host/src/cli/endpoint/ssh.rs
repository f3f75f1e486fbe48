//! `ssh://user@host:port/path`: a daemon that is reached through the system's `ssh`, which runs
//! `system dial-stdio` there.

use std::fmt;

use crate::cli::environment::Program;

/// Where to log in, and which socket to ask for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// A socket's path on that computer; `None` is what its own command line takes.
    socket: Option<String>,
}

impl SshHost {
    /// Reads what follows `ssh://`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("ssh host connection is not valid: invalid SSH URL: {why}"));
        if let Some((_, query)) = text.split_once('?') {
            return wrong(&format!("query parameters are not allowed: {query:?}"));
        }
        if let Some((_, fragment)) = text.split_once('#') {
            return wrong(&format!("fragments are not allowed: {fragment:?}"));
        }
        let (authority, path) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return wrong("plain-text password is not supported"),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return wrong("hostname is empty");
        }
        let port = match port.filter(|port| !port.is_empty()).map(str::parse) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => return wrong("invalid port"),
        };
        let socket = Some(path).filter(|path| !path.trim_matches('/').is_empty()).map(str::to_owned);
        Ok(Self { user: user.filter(|user| !user.is_empty()), host: host.to_owned(), port, socket })
    }

    /// What `ssh` is called with. Who asks as `holm` finds Holm there, or Docker where that is not.
    pub(crate) fn arguments(&self, program: Program) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        // No terminal, and no option may hide in the host's name.
        arguments.extend(["-o", "ConnectTimeout=30", "-T", "--"].map(str::to_owned));
        arguments.push(self.host.clone());
        let host = self.socket.as_ref().map(|path| format!("{} ", quoted(&format!("--host=unix://{path}"))));
        let dial =
            |program: &str| format!("{program} {}system dial-stdio", host.as_deref().unwrap_or_default());
        arguments.push(match program {
            Program::Docker => dial("docker"),
            Program::Holm => format!(
                "if command -v holm >/dev/null 2>&1; then exec {}; else exec {}; fi",
                dial("holm"),
                dial("docker")
            ),
        });
        arguments
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// One word of a POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = |next: char| next.is_ascii_alphanumeric() || "-_./:=@%+,".contains(next);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_address_becomes_an_argument() {
        let host = SshHost::parse("me@there:2222/run/docker.sock").unwrap();
        assert_eq!(
            host.arguments(Program::Docker),
            [
                "-l",
                "me",
                "-p",
                "2222",
                "-o",
                "ConnectTimeout=30",
                "-T",
                "--",
                "there",
                "docker --host=unix:///run/docker.sock system dial-stdio"
            ]
        );
        assert_eq!(host.to_string(), "ssh://me@there:2222/run/docker.sock");
        let host = SshHost::parse("there/").unwrap();
        assert_eq!(
            host.arguments(Program::Holm).last().unwrap(),
            "if command -v holm >/dev/null 2>&1; then exec holm system dial-stdio; else exec docker system dial-stdio; fi"
        );
        assert_eq!(SshHost::parse("[fd00::1]:22").unwrap().to_string(), "ssh://[fd00::1]:22");
    }

    #[test]
    fn nothing_in_an_address_can_become_an_option_or_a_command_there() {
        let host = SshHost::parse("-oProxyCommand=x/tmp/a b;rm -rf '").unwrap();
        let arguments = host.arguments(Program::Docker);
        let end = arguments.iter().position(|argument| argument == "--").unwrap();
        assert_eq!(arguments[end + 1], "-oProxyCommand=x");
        assert_eq!(arguments[end + 2], r"docker '--host=unix:///tmp/a b;rm -rf '\''' system dial-stdio");
    }

    #[test]
    fn what_is_no_address_is_told_in_dockers_words() {
        let error = |text: &str| SshHost::parse(text).unwrap_err();
        assert_eq!(error(""), "ssh host connection is not valid: invalid SSH URL: hostname is empty");
        assert!(error("a:b@c").ends_with("plain-text password is not supported"));
        assert!(error("h?x=1").ends_with("query parameters are not allowed: \"x=1\""));
        assert!(error("h:x").ends_with("invalid port"));
    }
}
