//! A login: to whom, as whom, with which secret. No form of it that is meant for people shows the secret.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is known about one registry; all of it is empty where nothing is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    /// As it is kept: a host, or Docker Hub's URL.
    pub(crate) server: String,
    /// Who.
    pub(crate) username: String,
    /// Password or personal token.
    pub(crate) password: String,
    /// What a login server gave in place of the password.
    pub(crate) identity_token: String,
    /// Sent to the registry as it is.
    pub(crate) registry_token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({} at {})", self.username, self.server)
    }
}

impl Login {
    /// As the Engine API takes it (`AuthConfig`).
    pub(crate) fn body(&self) -> Value {
        let fields = [
            ("username", &self.username),
            ("password", &self.password),
            ("serveraddress", &self.server),
            ("identitytoken", &self.identity_token),
            ("registrytoken", &self.registry_token),
        ];
        let told = fields.into_iter().filter(|(_, value)| !value.is_empty());
        Value::Object(told.map(|(name, value)| (name.to_owned(), value.as_str().into())).collect())
    }

    /// The value of `X-Registry-Auth`.
    pub(crate) fn header(&self) -> String {
        URL_SAFE.encode(self.body().to_string())
    }

    /// As `config.json` keeps it. What a newer Docker keeps beside it stays.
    pub(super) fn to_entry(&self, before: Option<&Value>) -> Value {
        let mut entry = before.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        for field in ["username", "password", "serveraddress", "auth", "identitytoken", "registrytoken"] {
            entry.shift_remove(field);
        }
        if !self.username.is_empty() || !self.password.is_empty() {
            let pair = STANDARD.encode(format!("{}:{}", self.username, self.password));
            entry.insert("auth".to_owned(), pair.into());
        }
        for (field, token) in
            [("identitytoken", &self.identity_token), ("registrytoken", &self.registry_token)]
        {
            if !token.is_empty() {
                entry.insert(field.to_owned(), token.as_str().into());
            }
        }
        Value::Object(entry)
    }

    /// Reads an entry of `config.json`; `None` where it makes no sense.
    pub(super) fn from_entry(server: &str, entry: &Value) -> Option<Self> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Entry {
            username: String,
            password: String,
            auth: String,
            identitytoken: String,
            registrytoken: String,
        }
        let entry = Entry::deserialize(entry).ok()?;
        let (username, password) = match entry.auth.as_str() {
            "" => (entry.username, entry.password),
            pair => decoded(pair)?,
        };
        Some(Self {
            server: server.to_owned(),
            username,
            password,
            identity_token: entry.identitytoken,
            registry_token: entry.registrytoken,
        })
    }
}

/// `name:password` in base64.
pub(super) fn decoded(pair: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
    let (username, password) = text.split_once(':').filter(|(username, _)| !username.is_empty())?;
    // Old versions of Docker padded it.
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn login() -> Login {
        Login {
            server: "r.lan:5000".to_owned(),
            username: "me".to_owned(),
            password: "s:cret".to_owned(),
            ..Login::default()
        }
    }

    #[test]
    fn an_entry_is_dockers() {
        let entry = login().to_entry(None);
        assert_eq!(entry, json!({ "auth": "bWU6czpjcmV0" }));
        assert_eq!(Login::from_entry("r.lan:5000", &entry), Some(login()));
        let before = json!({ "auth": "x", "email": "me@lan" });
        let token = Login { password: String::new(), identity_token: "t".to_owned(), ..login() };
        assert_eq!(
            token.to_entry(Some(&before)),
            json!({ "email": "me@lan", "auth": "bWU6", "identitytoken": "t" })
        );
        assert_eq!(Login::default().to_entry(None), json!({}));
        let read = Login::from_entry("x", &json!({ "username": "a", "password": "b" })).unwrap();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("a", "b"));
        assert_eq!(Login::from_entry("x", &json!({ "auth": "%" })), None);
        assert_eq!(Login::from_entry("x", &json!(7)), None);
    }

    #[test]
    fn the_header_is_json_in_base64_for_addresses() {
        assert_eq!(Login::default().header(), "e30=");
        assert_eq!(
            URL_SAFE.decode(login().header()).unwrap(),
            br#"{"username":"me","password":"s:cret","serveraddress":"r.lan:5000"}"#
        );
    }

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", login()), "Login(me at r.lan:5000)");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_entry_breaks_the_reader() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let _ = Login::from_entry("x", &serde_json::json!({ "auth": text }));
        });
    }
}
