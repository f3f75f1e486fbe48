//! The options we ask for, and the check that the kernel took them: its configuration program drops, silently,
//! an option whose dependency is missing.

use std::collections::HashMap;

use anyhow::{Result, bail};

use crate::digest;

/// Options as `CONFIG_NAME=value` or `# CONFIG_NAME is not set`.
pub(crate) struct Fragment {
    text: &'static str,
}

impl Fragment {
    /// The one for x86_64.
    pub(crate) fn of_this_processor() -> Fragment {
        Fragment { text: include_str!("../../kernel/x86_64.fragment") }
    }

    /// What `KCONFIG_ALLCONFIG` takes.
    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    /// Changes when an option does, not when a comment or the order does.
    pub(crate) fn digest(&self) -> String {
        let mut lines: Vec<String> =
            options(self.text).map(|(name, value)| format!("{name}={}\n", value.unwrap_or("n"))).collect();
        lines.sort();
        digest::of(lines.concat().as_bytes())
    }

    /// Fails with the names of all options that `config`, a whole `.config`, does not have as asked.
    pub(crate) fn check(&self, config: &str) -> Result<()> {
        let got: HashMap<&str, Option<&str>> = options(config).collect();
        let refused: Vec<&str> = options(self.text)
            .filter(|(name, value)| got.get(name).copied().flatten() != *value)
            .map(|(name, _)| name)
            .collect();
        if !refused.is_empty() {
            bail!("the kernel's configuration does not hold as asked: {}", refused.join(", "));
        }
        Ok(())
    }
}

/// Names with their values; `None` is an option that is not set.
fn options(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.lines().filter_map(|line| match line.strip_prefix("# ") {
        Some(comment) => comment.strip_suffix(" is not set").map(|name| (name, None)),
        None => line.split_once('=').map(|(name, value)| (name, Some(value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: Fragment = Fragment {
        text: "# What runs containers\nCONFIG_PID_NS=y\n# CONFIG_NET_9P is not set\nCONFIG_HZ=250\n",
    };

    #[test]
    fn a_configuration_with_more_than_was_asked_for_passes() {
        FRAGMENT.check("CONFIG_PID_NS=y\nCONFIG_HZ=250\n# CONFIG_NET_9P is not set\nCONFIG_SMP=y\n").unwrap();
        FRAGMENT.check("CONFIG_HZ=250\nCONFIG_PID_NS=y\n").unwrap();
    }

    #[test]
    fn every_option_that_was_dropped_changed_or_forced_is_named() {
        let error = FRAGMENT.check("CONFIG_NET_9P=y\nCONFIG_HZ=100\n").unwrap_err().to_string();
        assert!(error.ends_with("CONFIG_PID_NS, CONFIG_NET_9P, CONFIG_HZ"), "{error}");
    }

    #[test]
    fn only_options_decide_about_the_digest() {
        let same = Fragment { text: "CONFIG_HZ=250\n\nCONFIG_PID_NS=y\n# CONFIG_NET_9P is not set\n" };
        let other = Fragment { text: "CONFIG_HZ=250\n\nCONFIG_PID_NS=y\nCONFIG_NET_9P=y\n" };
        assert_eq!(FRAGMENT.digest(), same.digest());
        assert_ne!(FRAGMENT.digest(), other.digest());
    }

    #[test]
    fn no_option_is_asked_for_twice() {
        let mut names: Vec<&str> =
            options(Fragment::of_this_processor().text()).map(|(name, _)| name).collect();
        let asked = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), asked);
    }

    #[test]
    fn a_container_cannot_reach_the_guests_own_listeners_nor_another_file_server() {
        let fragment = Fragment::of_this_processor();
        let options: HashMap<_, _> = options(fragment.text()).collect();
        assert_eq!(options["CONFIG_VSOCKETS_LOOPBACK"], None);
        assert_eq!(options["CONFIG_NET_9P"], None);
    }
}
