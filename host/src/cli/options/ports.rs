//! `--publish` and `--expose`.

/// One port of the container and where it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// `80/tcp`
    pub(crate) port: String,
    /// Empty for every address.
    pub(crate) address: String,
    /// A number, a range to choose from, or empty for any that is free.
    pub(crate) host_port: String,
}

/// The ports that a value of `--publish` names: `[[address:]host-port:]port[/protocol]`, ports also as ranges,
/// or `published=…,target=…,protocol=…`.
pub(crate) fn published(text: &str) -> Result<Vec<Published>, String> {
    let short = if text.contains('=') { long_form(text)? } else { text.to_owned() };
    let (address, host, container) = split(&short);
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("invalid proto: {protocol}"));
    }
    let bare = match address.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address {address}: missing ']' in address"))?,
        None => address,
    };
    if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    let (first, last) = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((low, high)) = host_range
        && high - low != last - first
        && last != first
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    Ok((first..=last)
        .map(|port| Published {
            port: format!("{port}/{protocol}"),
            address: bare.to_owned(),
            host_port: match host_range {
                None => String::new(),
                // One port, and a range to take a free one from.
                Some((low, high)) if first == last && low != high => format!("{low}-{high}"),
                Some((low, _)) => (low + (port - first)).to_string(),
            },
        })
        .collect())
}

/// The ports that a value of `--expose` names, `80/tcp` each.
pub(crate) fn exposed(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    let (first, last) =
        range(ports).map_err(|why| format!("invalid range format for --expose: {text}, error: {why}"))?;
    Ok((first..=last).map(|port| format!("{port}/{}", protocol.to_lowercase())).collect())
}

fn long_form(text: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid publish opts format (should be name=value but got '{field}')"))?;
        match key {
            "published" => published = value.to_owned(),
            "target" => target = value.to_owned(),
            "protocol" => protocol = value.to_owned(),
            // Docker ignores what it does not know here, `mode` of swarm services above all.
            _ => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// Address, port here, port there. An IPv6 address may have colons of its own.
fn split(text: &str) -> (&str, &str, &str) {
    match text.rsplit_once(':') {
        None => ("", "", text),
        Some((rest, container)) => match rest.rsplit_once(':') {
            None => ("", rest, container),
            Some((address, host)) => (address, host, container),
        },
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        text.parse::<u16>().map_err(|error| match error.kind() {
            std::num::IntErrorKind::PosOverflow => {
                format!("strconv.ParseUint: parsing {text:?}: value out of range")
            }
            _ => format!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
        })
    };
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_colons_and_brackets() {
        let one = |text: &str| published(text).unwrap().remove(0);
        assert_eq!(one("[::1]:81:80/UDP").port, "80/udp");
        assert_eq!(one("[::1]:81:80").address, "::1");
        assert_eq!(one("::1:81:80").address, "::1");
        assert_eq!(one("127.0.0.1::80").host_port, "");
    }

    #[test]
    fn a_range_on_one_side_is_a_choice_and_on_both_a_mapping() {
        let ports = |text: &str| -> Vec<String> {
            published(text)
                .unwrap()
                .into_iter()
                .map(|one| format!("{}>{}", one.host_port, one.port))
                .collect()
        };
        assert_eq!(ports("90-91:80-81"), ["90>80/tcp", "91>81/tcp"]);
        assert_eq!(ports("90-91:80"), ["90-91>80/tcp"]);
        assert!(published("90-95:80-81").unwrap_err().starts_with("invalid ranges specified"));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_text_crashes_it() {
            bolero::check!().with_type::<String>().for_each(|text| {
                let _ = published(text);
                let _ = exposed(text);
            });
        }
    }
}
