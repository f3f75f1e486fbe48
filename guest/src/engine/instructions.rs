//! `commit --change`: instructions of a Dockerfile that change an image's configuration (moby,
//! `BuildFromConfig`; Dockerfile reference). One instruction a line, a backslash at its end continues it.

use holm_api::models::{ContainerConfig, HealthConfig};

use super::{EngineError, parse_signal};

/// What `ONBUILD` may not put off.
const NO_TRIGGERS: [&str; 2] = ["MAINTAINER", "FROM"];

/// Applies them in their order.
pub(super) fn apply(changes: &[String], config: &mut ContainerConfig) -> Result<(), EngineError> {
    let text = changes.join("\n").replace("\\\r\n", "").replace("\\\n", "");
    let mut own_command = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        own_command |= word.eq_ignore_ascii_case("cmd");
        one(word, rest.trim(), own_command, config).map_err(EngineError::Invalid)?;
    }
    Ok(())
}

fn one(word: &str, rest: &str, own_command: bool, config: &mut ContainerConfig) -> Result<(), String> {
    let name = word.to_ascii_uppercase();
    let variables = config.env.clone().unwrap_or_default();
    let needs_one = || match rest.is_empty() {
        true => Err(format!("{name} requires at least one argument")),
        false => Ok(()),
    };
    let single = || match words(rest, &variables)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(format!("{name} requires exactly one argument")),
    };
    match name.as_str() {
        "CMD" => config.cmd = Some(command(rest, config)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest, config));
            if !own_command {
                config.cmd = None;
            }
        }
        "ENV" => {
            needs_one()?;
            for (key, value) in pairs(&name, rest, &variables)? {
                let all = config.env.get_or_insert_default();
                all.retain(|variable| variable.split('=').next() != Some(&key));
                all.push(format!("{key}={value}"));
            }
        }
        "LABEL" => {
            needs_one()?;
            config.labels.get_or_insert_default().extend(pairs(&name, rest, &variables)?);
        }
        "EXPOSE" => {
            needs_one()?;
            for text in words(rest, &variables)? {
                let all = config.exposed_ports.get_or_insert_default();
                all.extend(ports(&text)?);
                all.sort();
                all.dedup();
            }
        }
        "VOLUME" => {
            needs_one()?;
            let folders = match array(rest) {
                Some(folders) => folders,
                None => words(rest, &variables)?,
            };
            if folders.iter().any(|folder| folder.trim().is_empty()) {
                return Err("VOLUME specified can not be an empty string".to_owned());
            }
            let all = config.volumes.get_or_insert_default();
            all.extend(folders);
            all.sort();
            all.dedup();
        }
        "USER" => config.user = Some(single()?),
        "STOPSIGNAL" => {
            let signal = single()?;
            parse_signal(&signal).map_err(|error| error.to_string())?;
            config.stop_signal = Some(signal);
        }
        "WORKDIR" => {
            let folder = words(&format!("\"{}\"", rest.replace('"', "\\\"")), &variables)?.concat();
            if folder.is_empty() {
                return Err("WORKDIR requires exactly one argument".to_owned());
            }
            let before = config.working_dir.clone().unwrap_or_default();
            let joined = if folder.starts_with('/') { folder } else { format!("/{before}/{folder}") };
            config.working_dir = Some(super::mounts::clean(&joined));
        }
        "ONBUILD" => {
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match trigger.as_str() {
                "" => return Err("ONBUILD requires at least one argument".to_owned()),
                "ONBUILD" => {
                    return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned());
                }
                no if NO_TRIGGERS.contains(&no) => {
                    return Err(format!("{no} isn't allowed as an ONBUILD trigger"));
                }
                _ => config.on_build.get_or_insert_default().push(rest.to_owned()),
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(health_check(rest)?),
        _ => return Err(format!("{word} is not a valid change command")),
    }
    Ok(())
}

/// `["a", "b"]`, or a line for a shell.
fn command(text: &str, config: &ContainerConfig) -> Vec<String> {
    if let Some(words) = array(text) {
        return words;
    }
    let shell = config.shell.clone().filter(|shell| !shell.is_empty());
    let mut words = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    words.push(text.to_owned());
    words
}

fn array(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// `a=b "c d"=e`, or, of one pair alone, `a b c`.
fn pairs(name: &str, text: &str, variables: &[String]) -> Result<Vec<(String, String)>, String> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let Some((key, value)) = text.split_once(char::is_whitespace) else {
            return Err(format!("{name} must have two arguments"));
        };
        let value = words(&format!("\"{}\"", value.trim().replace('"', "\\\"")), variables)?.concat();
        return Ok(vec![(key.to_owned(), value)]);
    }
    let split = |word: String| match word.split_once('=') {
        None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
        Some(("", _)) => Err(format!("{name} names can not be blank")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
    };
    words(text, variables)?.into_iter().map(split).collect()
}

/// `80`, `80/udp`, `80-82/tcp`.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let protocol = protocol.to_ascii_lowercase();
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(format!("invalid containerPort: {text}")),
    }
}

fn health_check(text: &str) -> Result<HealthConfig, String> {
    let mut check = HealthConfig::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        let (key, value) = flag.split_once('=').ok_or_else(|| format!("Missing a value on flag: {flag}"))?;
        match key {
            "interval" => check.interval = Some(nanos(value)?),
            "timeout" => check.timeout = Some(nanos(value)?),
            "start-period" => check.start_period = Some(nanos(value)?),
            "start-interval" => check.start_interval = Some(nanos(value)?),
            "retries" => {
                let retries = value.parse().ok().filter(|retries| *retries >= 0);
                check.retries = Some(retries.ok_or("--retries must be at least 0 (default 3)")?);
            }
            _ => return Err(format!("unknown flag: --{key}")),
        }
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = Some(match kind.to_ascii_uppercase().as_str() {
        "" => return Err("HEALTHCHECK requires at least one argument".to_owned()),
        "NONE" if !rest.trim().is_empty() => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if rest.trim().is_empty() => return Err("Missing command after HEALTHCHECK CMD".to_owned()),
        "CMD" => match array(rest.trim()) {
            Some(words) => [vec!["CMD".to_owned()], words].concat(),
            // By whatever shell the image names, when it runs.
            None => vec!["CMD-SHELL".to_owned(), rest.trim().to_owned()],
        },
        _ => return Err(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    });
    Ok(check)
}

/// Go's duration: `1m30s`, `500ms`.
fn nanos(text: &str) -> Result<i64, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    let mut rest = text;
    let mut sum = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = rest[digits..].split_at(unit.unwrap_or(rest.len() - digits));
        sum += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return Err(wrong()),
            };
        rest = after;
    }
    if text.is_empty() || sum > i64::MAX as f64 { Err(wrong()) } else { Ok(sum as i64) }
}

/// Splits at blanks outside of quotes, takes quotes and backslashes off, and puts variables in.
fn words(text: &str, variables: &[String]) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let next = chars.next();
                let kept = quote.is_some() && !next.is_some_and(|next| matches!(next, '"' | '$' | '\\'));
                word.get_or_insert_default().extend(kept.then_some('\\').into_iter().chain(next));
            }
            ('$', None | Some('"')) => {
                let name = variable(&mut chars)?;
                word.get_or_insert_default().push_str(&value(&name, variables));
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!(
            "failed to process {text:?}: unexpected end of statement while looking for matching quote"
        ));
    }
    words.extend(word);
    Ok(words)
}

/// A variable's name, and what stands for it where it is not set, or set.
struct Variable {
    name: String,
    otherwise: Option<String>,
    instead: Option<String>,
}

fn variable(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Variable, String> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let mut name = String::new();
    if chars.next_if_eq(&'{').is_none() {
        while let Some(c) = chars.next_if(is_name) {
            name.push(c);
        }
        return Ok(Variable { name, otherwise: None, instead: None });
    }
    let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
    let name: String = inner.chars().take_while(is_name).collect();
    let rest = &inner[name.len()..];
    let found = match (rest.strip_prefix(":-"), rest.strip_prefix(":+")) {
        (Some(otherwise), _) => Variable { name, otherwise: Some(otherwise.to_owned()), instead: None },
        (_, Some(instead)) => Variable { name, otherwise: None, instead: Some(instead.to_owned()) },
        _ if rest.is_empty() && !name.is_empty() => Variable { name, otherwise: None, instead: None },
        _ => return Err(format!("unsupported modifier in substitution: ${{{inner}}}")),
    };
    Ok(found)
}

fn value(variable: &Variable, variables: &[String]) -> String {
    if variable.name.is_empty() {
        return "$".to_owned();
    }
    let find = |text: &String| {
        text.split_once('=').filter(|(key, _)| *key == variable.name).map(|(_, v)| v.to_owned())
    };
    let set = variables.iter().rev().find_map(find).filter(|value| !value.is_empty());
    match (&variable.instead, set) {
        (Some(instead), Some(_)) => instead.clone(),
        (Some(_), None) => String::new(),
        (None, Some(value)) => value,
        (None, None) => variable.otherwise.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig {
            env: Some(vec!["HOME=/root".to_owned(), "A=old".to_owned()]),
            cmd: Some(vec!["sh".to_owned()]),
            ..ContainerConfig::default()
        };
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply(&changes, &mut config).unwrap();
        config
    }

    fn refused(change: &str) -> String {
        apply(&[change.to_owned()], &mut ContainerConfig::default()).unwrap_err().to_string()
    }

    #[test]
    fn commands_are_lists_or_lines_for_a_shell() {
        assert_eq!(changed(&[r#"CMD ["a", "b c"]"#]).cmd.unwrap(), ["a", "b c"]);
        assert_eq!(changed(&["cmd echo $HOME"]).cmd.unwrap(), ["/bin/sh", "-c", "echo $HOME"]);
        let entry = changed(&[r#"ENTRYPOINT ["top"]"#]);
        assert_eq!((entry.entrypoint.unwrap(), entry.cmd), (vec!["top".to_owned()], None));
        assert!(changed(&[r#"CMD ["a"]"#, r#"ENTRYPOINT ["top"]"#]).cmd.is_some());
    }

    #[test]
    fn variables_are_set_in_both_forms_and_put_in() {
        let env = changed(&["ENV A=$HOME/x B=\"b c\" C=${NO:-none}", "ENV D one two"]).env.unwrap();
        assert_eq!(env, ["HOME=/root", "A=/root/x", "B=b c", "C=none", "D=one two"]);
        let labels = changed(&["LABEL a=b 'c d'=e"]).labels.unwrap();
        assert_eq!((labels["a"].as_str(), labels["c d"].as_str()), ("b", "e"));
    }

    #[test]
    fn the_other_instructions_say_what_they_say() {
        let config = changed(&[
            "EXPOSE 80 53/udp 90-91",
            "VOLUME /data /more",
            "USER web:staff",
            "WORKDIR /srv",
            "WORKDIR app/..",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl \\\n localhost",
        ]);
        assert_eq!(config.exposed_ports.unwrap(), ["53/udp", "80/tcp", "90/tcp", "91/tcp"]);
        assert_eq!(config.volumes.unwrap(), ["/data", "/more"]);
        assert_eq!(
            (config.user.as_deref(), config.working_dir.as_deref()),
            (Some("web:staff"), Some("/srv"))
        );
        assert_eq!(
            (config.stop_signal.as_deref(), config.on_build.unwrap()),
            (Some("SIGINT"), vec!["RUN make".to_owned()])
        );
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (Some(90_000_000_000), Some(2)));
        assert_eq!(check.test.unwrap(), ["CMD-SHELL", "curl  localhost"]);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        assert_eq!(refused("RUN make"), "RUN is not a valid change command");
        assert_eq!(refused("ENV A"), "ENV must have two arguments");
        assert_eq!(refused("EXPOSE web"), "invalid containerPort: web");
        assert_eq!(refused("USER a b"), "USER requires exactly one argument");
        assert_eq!(refused("ONBUILD FROM x"), "FROM isn't allowed as an ONBUILD trigger");
        assert!(refused("LABEL a=\"b").contains("matching quote"));
        assert_eq!(refused("STOPSIGNAL nope"), "invalid signal: nope");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_text_changes_something_or_is_refused() {
        bolero::check!().with_type::<(u8, String)>().for_each(|(kind, text)| {
            let names =
                ["CMD", "ENV", "LABEL", "EXPOSE", "VOLUME", "USER", "WORKDIR", "ONBUILD", "HEALTHCHECK"];
            let change = format!("{} {text}", names[usize::from(*kind) % names.len()]);
            let _ = apply(&[change, text.clone()], &mut ContainerConfig::default());
        });
    }
}
