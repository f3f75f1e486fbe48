//! `--network`: a network's name, or comma-separated `key=value` pairs that describe the place in it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Value, json};

use super::{csv, is_mac_address};

/// A container's place in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The network's name, or a mode: `host`, `none`, `container:…`.
    pub(crate) target: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) ipv4: Option<IpAddr>,
    pub(crate) ipv6: Option<IpAddr>,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac_address: String,
    driver_options: BTreeMap<String, String>,
    gateway_priority: i64,
}

impl FromStr for Attachment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_long(text) {
            return Ok(Self { target: text.to_owned(), ..Self::default() });
        }
        let mut attachment = Self::default();
        for field in csv::fields(text)? {
            attachment.set(&field)?;
        }
        if attachment.target.is_empty() {
            return Err("network name/id is not specified".to_owned());
        }
        Ok(attachment)
    }
}

/// Whether there is a `key=value` in it.
fn is_long(text: &str) -> bool {
    let word = |next: char| next.is_ascii_alphanumeric() || next == '_';
    let bytes = text.char_indices().filter(|(_, next)| *next == '=');
    bytes.into_iter().any(|(at, _)| text[..at].ends_with(word) && text[at + 1..].starts_with(word))
}

impl Attachment {
    /// A place in the network that is meant where none is named.
    pub(crate) fn default_network() -> Self {
        Self { target: "default".to_owned(), ..Self::default() }
    }

    fn set(&mut self, field: &str) -> Result<(), String> {
        // Docker does not tell large letters from small ones here, in values neither.
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let (key, value) = (key.trim(), value.trim());
        match key {
            "name" => self.target = value.to_owned(),
            "alias" => self.aliases.push(value.to_owned()),
            "ip" => self.ipv4 = value.parse().ok(),
            "ip6" => self.ipv6 = value.parse().ok(),
            "mac-address" => self.mac_address = value.to_owned(),
            "link-local-ip" => self.link_local.push(value.to_owned()),
            "driver-opt" => {
                let (name, value) = value
                    .split_once('=')
                    .filter(|(name, _)| !name.is_empty())
                    .ok_or("invalid key value pair format in driver options")?;
                self.driver_options.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            "gw-priority" => {
                self.gateway_priority =
                    value.parse().map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
        Ok(())
    }

    /// Whether it is a network that somebody made, and not a mode.
    pub(crate) fn is_user_defined(&self) -> bool {
        !matches!(self.target.as_str(), "default" | "bridge" | "host" | "none" | "nat")
            && !self.target.starts_with("container:")
    }

    /// Whether it says nothing but the network's name.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self { target: self.target.clone(), ..Self::default() }
    }

    /// The endpoint as the engine takes it.
    pub(crate) fn to_json(&self) -> Result<Value, String> {
        if self.target.trim().is_empty() {
            return Err("no name set for network".to_owned());
        }
        if !self.is_user_defined() && !self.aliases.is_empty() {
            return Err("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
        if !self.is_user_defined() && !self.links.is_empty() {
            return Err("links are only supported for user-defined networks".to_owned());
        }
        if !self.mac_address.is_empty() && !is_mac_address(&self.mac_address) {
            return Err(format!("{} is not a valid mac address", self.mac_address));
        }
        let mut ipam = serde_json::Map::new();
        if let Some(address) = self.ipv4 {
            ipam.insert("IPv4Address".to_owned(), address.to_string().into());
        }
        if let Some(address) = self.ipv6 {
            ipam.insert("IPv6Address".to_owned(), address.to_string().into());
        }
        if !self.link_local.is_empty() {
            ipam.insert("LinkLocalIPs".to_owned(), self.link_local.clone().into());
        }
        let none_if_empty = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
        Ok(json!({
            "IPAMConfig": if ipam.is_empty() { Value::Null } else { ipam.into() },
            "Links": none_if_empty(&self.links),
            "Aliases": none_if_empty(&self.aliases),
            "MacAddress": self.mac_address,
            "DriverOpts":
                if self.driver_options.is_empty() { Value::Null } else { json!(self.driver_options) },
            "GwPriority": self.gateway_priority,
        }))
    }
}
