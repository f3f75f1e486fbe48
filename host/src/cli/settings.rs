//! What the user set for all commands in Docker's `config.json`: formats of lists, keys, headers, proxies.

use std::collections::BTreeMap;

use serde::Deserialize;

/// As far as we heed it. What is not there is empty.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Settings {
    pub(crate) ps_format: String,
    pub(crate) images_format: String,
    pub(crate) networks_format: String,
    pub(crate) volumes_format: String,
    pub(crate) stats_format: String,
    pub(crate) detach_keys: String,
    /// Sent with every request.
    #[serde(rename = "HttpHeaders")]
    pub(crate) http_headers: BTreeMap<String, String>,
    /// By the daemon's address, or `default` for all others.
    proxies: BTreeMap<String, Proxies>,
}

/// Proxies that containers are told of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

impl Settings {
    /// Variables for a new container of the daemon at `host` that has `env` already. What is there stays.
    pub(crate) fn proxy_variables(&self, host: &str, env: &[&str]) -> Vec<String> {
        let Some(proxies) = self.proxies.get(host).or_else(|| self.proxies.get("default")) else {
            return Vec::new();
        };
        let named = [
            ("HTTP_PROXY", &proxies.http_proxy),
            ("HTTPS_PROXY", &proxies.https_proxy),
            ("NO_PROXY", &proxies.no_proxy),
            ("FTP_PROXY", &proxies.ftp_proxy),
            ("ALL_PROXY", &proxies.all_proxy),
        ];
        let known = |name: &str| env.iter().any(|entry| entry.split('=').next() == Some(name));
        named
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| [(name.to_owned(), value), (name.to_lowercase(), value)])
            .filter(|(name, _)| !known(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_become_variables_that_are_not_there_yet() {
        let settings: Settings = serde_json::from_str(
            r#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"lan"},"unix:///x":{"allProxy":"a"}},"auths":{}}"#,
        )
        .unwrap();
        assert_eq!(
            settings.proxy_variables("tcp://h:1", &["http_proxy=mine", "NO_PROXY"]),
            ["HTTP_PROXY=http://p:1", "no_proxy=lan"]
        );
        assert_eq!(settings.proxy_variables("unix:///x", &[]), ["ALL_PROXY=a", "all_proxy=a"]);
        assert!(Settings::default().proxy_variables("unix:///x", &[]).is_empty());
    }
}
