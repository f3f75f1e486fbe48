//! `--security-opt` (moby, `daemon/daemon_unix.go`, `parseSecurityOpt`).

use super::SpecError;

/// What the options say.
#[derive(Debug, Default)]
pub(super) struct Security {
    /// No program gains rights, set-user-ID or not.
    pub(super) no_new_privileges: bool,
    /// The cgroup tree inside is writable; `None` where only a privileged container's is.
    pub(super) writable_cgroups: Option<bool>,
    /// The filter of system calls.
    pub(super) profile: Profile,
}

/// A filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Profile {
    /// Docker's.
    #[default]
    Default,
    /// None but for what every container is refused.
    Unconfined,
    /// The client's: its file's text.
    Own(String),
}

impl Security {
    /// Reads the options as the client sends them. Labels and AppArmor profiles are taken and have no effect, as
    /// with Docker on a kernel that has neither SELinux nor AppArmor.
    pub(super) fn parse(options: &[String]) -> Result<Self, SpecError> {
        let mut security = Self::default();
        for option in options {
            let (key, value) = match option.as_str() {
                "no-new-privileges" | "writable-cgroups" => (option.as_str(), "true"),
                "disable" => continue,
                other => other
                    .split_once(if other.contains('=') { '=' } else { ':' })
                    .ok_or_else(|| SpecError::Unexpected(format!("invalid --security-opt 1: {option:?}")))?,
            };
            let invalid = || SpecError::Unexpected(format!("invalid --security-opt 2: {option:?}"));
            match key {
                "label" | "apparmor" => {}
                "no-new-privileges" => security.no_new_privileges = parse_bool(value).ok_or_else(invalid)?,
                "writable-cgroups" => {
                    security.writable_cgroups = Some(parse_bool(value).ok_or_else(invalid)?)
                }
                "seccomp" => {
                    security.profile = match value {
                        "" | "builtin" => Profile::Default,
                        "unconfined" => Profile::Unconfined,
                        own => Profile::Own(own.to_owned()),
                    }
                }
                _ => return Err(invalid()),
            }
        }
        Ok(security)
    }
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(option: &str) -> Result<Security, SpecError> {
        Security::parse(&[option.to_owned()])
    }

    #[test]
    fn options_are_read_with_either_separator() {
        assert!(parse("no-new-privileges").unwrap().no_new_privileges);
        assert!(parse("no-new-privileges:true").unwrap().no_new_privileges);
        assert!(!parse("no-new-privileges=0").unwrap().no_new_privileges);
        assert_eq!(parse("seccomp=unconfined").unwrap().profile, Profile::Unconfined);
        assert_eq!(
            parse("seccomp={\"a\":\"b=c\"}").unwrap().profile,
            Profile::Own("{\"a\":\"b=c\"}".to_owned())
        );
        assert_eq!(parse("writable-cgroups=false").unwrap().writable_cgroups, Some(false));
        assert!(parse("label=disable").is_ok() && parse("apparmor=unconfined").is_ok());
    }

    #[test]
    fn what_is_no_option_is_refused_in_dockers_words() {
        assert_eq!(parse("nonsense").unwrap_err().to_string(), "invalid --security-opt 1: \"nonsense\"");
        assert_eq!(parse("a=b").unwrap_err().to_string(), "invalid --security-opt 2: \"a=b\"");
    }
}
