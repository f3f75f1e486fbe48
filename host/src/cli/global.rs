//! The flags before the command, and which daemon they, the variables and the contexts lead to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::config::ConfigFolder;
use super::context::store::{Context, DEFAULT, Store};
use super::endpoint::{Endpoint, Files};
use super::environment::Program;
use super::error::CliError;

/// Flags of all commands.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct GlobalFlags {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    config: Option<String>,
    /// Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with "docker context use")
    #[arg(short, long, value_name = "string")]
    context: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    debug: bool,
    /// Daemon socket to connect to
    #[arg(short = 'H', long = "host", value_name = "list")]
    hosts: Vec<String>,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal")
    #[arg(short, long, value_name = "string", default_value = "info")]
    log_level: String,
    /// Use TLS; implied by --tlsverify
    #[arg(long)]
    tls: bool,
    /// Trust certs signed only by this CA
    #[arg(long, value_name = "string")]
    tlscacert: Option<PathBuf>,
    /// Path to TLS certificate file
    #[arg(long, value_name = "string")]
    tlscert: Option<PathBuf>,
    /// Path to TLS key file
    #[arg(long, value_name = "string")]
    tlskey: Option<PathBuf>,
    /// Use TLS and verify the remote
    #[arg(long)]
    tlsverify: bool,
}

/// Everything that says which daemon is meant.
pub(crate) struct Choice<'a> {
    pub(crate) flags: &'a GlobalFlags,
    pub(crate) variables: &'a BTreeMap<String, String>,
    pub(crate) home: &'a Path,
    pub(crate) program: Program,
    pub(crate) config: &'a ConfigFolder,
}

impl GlobalFlags {
    /// The folder of settings that they name.
    pub(crate) fn config_folder(&self, variables: &BTreeMap<String, String>) -> ConfigFolder {
        ConfigFolder::locate(self.config.as_deref(), variables)
    }

    /// Whether requests are to be told as they are made.
    pub(crate) fn debugs(&self) -> bool {
        self.debug || matches!(self.log_level.to_lowercase().as_str(), "debug" | "trace")
    }

    /// Complains of flags that make no sense, or contradict each other.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        const LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];
        if !self.log_level.is_empty() && !LEVELS.contains(&self.log_level.to_lowercase().as_str()) {
            return Err(CliError::said(format!("Unable to parse logging level: {}", self.log_level)));
        }
        if self.hosts.len() > 1 {
            return Err(CliError::said(
                "Failed to initialize: unable to resolve docker endpoint: Specify only one -H",
            ));
        }
        if self.context.is_some() && !self.hosts.is_empty() {
            return Err(CliError::said("conflicting options: cannot specify both --host and --context"));
        }
        Ok(())
    }
}

impl Choice<'_> {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variable that names an address, whatever the current context is.
    pub(crate) fn overriding_variable(&self) -> Option<&'static str> {
        ["HOLM_HOST", "DOCKER_HOST"].into_iter().find(|name| self.variable(name).is_some())
    }

    /// The address that is named, by flag or variable.
    fn host(&self) -> Option<&str> {
        let flag = self.flags.hosts.first().map(String::as_str);
        flag.or_else(|| self.variable("HOLM_HOST")).or_else(|| self.variable("DOCKER_HOST"))
    }

    /// The name of the context that is in effect. Called as itself, `holm` keeps to its own machine unless it is
    /// told otherwise: the current context is often another engine's, set by that engine.
    pub(crate) fn context(&self) -> String {
        if let Some(name) = &self.flags.context {
            return name.clone();
        }
        if self.host().is_some() {
            return DEFAULT.to_owned();
        }
        let named = self.variable("DOCKER_CONTEXT").map(str::to_owned);
        let current = || (self.program == Program::Docker).then(|| self.config.current_context()).flatten();
        named.or_else(current).unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// The daemon that is meant.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, CliError> {
        self.flags.check()?;
        match self.context() {
            name if name == DEFAULT => self.default_endpoint(),
            name => {
                let store = Store::of(self.config);
                let context = store.read(&name).map_err(|error| {
                    CliError::said(format!(
                        "Failed to initialize: unable to resolve docker endpoint: {error}"
                    ))
                })?;
                Endpoint::of_context(&context, &store.read_tls(&name), self.home)
            }
        }
    }

    fn default_endpoint(&self) -> Result<Endpoint, CliError> {
        match self.host() {
            Some(host) => Endpoint::named(host, self.files().as_ref()),
            None => Ok(Endpoint::own(self.home)),
        }
    }

    /// The context that is no file: what flags and variables say.
    pub(crate) fn default_context(&self) -> Result<Context, CliError> {
        let host = match self.host() {
            Some(host) => host.to_owned(),
            None => Endpoint::own(self.home).host,
        };
        let endpoint = json!({"Host": host, "SkipTLSVerify": false});
        Ok(Context::new(DEFAULT, "Current DOCKER_HOST based configuration", endpoint))
    }

    /// Where TLS material lies, `None` where the connection is to be in the open.
    fn files(&self) -> Option<Files> {
        let verify = self.flags.tlsverify || self.variable("DOCKER_TLS_VERIFY").is_some();
        if !verify && !self.flags.tls && self.variable("DOCKER_TLS").is_none() {
            return None;
        }
        let usual = |name: &str| match self.variable("DOCKER_CERT_PATH") {
            Some(folder) => Path::new(folder).join(name),
            None => self.config.join(name),
        };
        // Ours are optional, unless they were asked for.
        let own = |flag: &Option<PathBuf>, name| match flag {
            Some(path) => Some(path.clone()),
            None => Some(usual(name)).filter(|path| path.exists()),
        };
        Some(Files {
            ca: self.flags.tlscacert.clone().unwrap_or_else(|| usual("ca.pem")),
            certificate: own(&self.flags.tlscert, "cert.pem"),
            key: own(&self.flags.tlskey, "key.pem"),
            verify,
        })
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    struct Setting {
        _directory: tempfile::TempDir,
        config: ConfigFolder,
        variables: BTreeMap<String, String>,
    }

    fn setting(variables: &[(&str, &str)]) -> Setting {
        let directory = tempfile::tempdir().unwrap();
        let config = ConfigFolder::locate(directory.path().to_str(), &BTreeMap::new());
        let endpoint = json!({"Host": "unix:///context", "SkipTLSVerify": false});
        Store::of(&config).write(&Context::new("other", "", endpoint)).unwrap();
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Setting { _directory: directory, config, variables }
    }

    impl Setting {
        fn host(&self, flags: &GlobalFlags, program: Program) -> String {
            let home = Path::new("/home/me/.holm");
            let choice = Choice { flags, variables: &self.variables, home, program, config: &self.config };
            choice.endpoint().map_or_else(|error| error.to_string(), |endpoint| endpoint.host)
        }
    }

    fn flags(host: Option<&str>, context: Option<&str>) -> GlobalFlags {
        let hosts = host.map(str::to_owned).into_iter().collect();
        GlobalFlags { hosts, context: context.map(str::to_owned), ..GlobalFlags::default() }
    }

    const OWN: &str = "unix:///home/me/.holm/run/docker.sock";

    #[test]
    fn the_flag_wins_over_the_variables_and_those_over_our_own_socket() {
        let both =
            setting(&[("DOCKER_HOST", "unix:///d"), ("HOLM_HOST", "unix:///h"), ("DOCKER_CONTEXT", "other")]);
        assert_eq!(both.host(&flags(Some("unix:///f"), None), Program::Holm), "unix:///f");
        assert_eq!(both.host(&flags(None, None), Program::Holm), "unix:///h");
        assert_eq!(both.host(&flags(None, Some("other")), Program::Holm), "unix:///context");
        let docker = setting(&[("DOCKER_HOST", "unix:///d"), ("DOCKER_CONTEXT", "other")]);
        assert_eq!(docker.host(&flags(None, None), Program::Holm), "unix:///d");
        let named = setting(&[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "other")]);
        assert_eq!(named.host(&flags(None, None), Program::Holm), "unix:///context");
        assert_eq!(setting(&[]).host(&flags(None, None), Program::Holm), OWN);
    }

    #[test]
    fn the_current_context_is_followed_under_dockers_name_alone() {
        let setting = setting(&[]);
        setting.config.set_current_context(Some("other")).unwrap();
        assert_eq!(setting.host(&flags(None, None), Program::Docker), "unix:///context");
        assert_eq!(setting.host(&flags(None, None), Program::Holm), OWN);
    }

    #[test]
    fn contradictions_and_what_is_not_there_are_told() {
        let setting = setting(&[]);
        assert_eq!(
            setting.host(&flags(Some("unix:///f"), Some("other")), Program::Holm),
            "conflicting options: cannot specify both --host and --context"
        );
        let missing = setting.host(&flags(None, Some("nosuch")), Program::Holm);
        assert!(
            missing.starts_with(
                "Failed to initialize: unable to resolve docker endpoint: context \"nosuch\": context not found: open "
            ),
            "{missing}"
        );
    }

    #[test]
    fn verification_wants_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let setting = setting(&[("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)]);
        let said = setting.host(&flags(Some("tcp://h:1"), None), Program::Holm);
        assert!(said.ends_with(&format!("open {path}/ca.pem: no such file or directory")), "{said}");
        assert_eq!(setting.host(&flags(Some("unix:///x"), None), Program::Holm), "unix:///x");
    }
}
