//! What a container's first process is started with: arguments, variables, folder.

use std::path::{Component, Path, PathBuf};

use holm_api::models::ContainerConfig;

use super::SpecError;
use super::mounts::INIT;

/// Where programs are looked for unless the image says otherwise.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Entrypoint and command, under the small init where there is to be one.
pub(super) fn arguments(config: &ContainerConfig, with_init: bool) -> Result<Vec<String>, SpecError> {
    let words = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned();
    let mut arguments: Vec<_> = words.collect();
    if arguments.is_empty() {
        return Err(SpecError::NoCommand);
    }
    if with_init {
        arguments.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    Ok(arguments)
}

/// Docker's variables, each in its place unless the configuration sets or, without an equals sign, unsets it.
pub fn environment(config: &ContainerConfig) -> Result<Vec<String>, SpecError> {
    let mut variables = vec![PATH.to_owned()];
    variables.push(format!("HOSTNAME={}", config.hostname.as_deref().unwrap_or_default()));
    if config.tty == Some(true) {
        variables.push("TERM=xterm".to_owned());
    }
    for variable in config.env.iter().flatten() {
        let (name, value) = variable.split_once('=').map_or((variable.as_str(), None), |(n, v)| (n, Some(v)));
        if name.is_empty() || variable.contains('\0') {
            return Err(SpecError::Invalid(format!("invalid environment variable: {variable}")));
        }
        let place = variables.iter().position(|other| other.split('=').next() == Some(name));
        match (place, value) {
            (Some(place), Some(_)) => variables[place].clone_from(variable),
            (Some(place), None) => drop(variables.remove(place)),
            (None, Some(_)) => variables.push(variable.clone()),
            (None, None) => {}
        }
    }
    Ok(variables)
}

/// The folder in which it starts, without `.` and `..`.
pub fn folder(config: &ContainerConfig) -> Result<PathBuf, SpecError> {
    let text = match config.working_dir.as_deref() {
        None | Some("") => "/",
        Some(text) => text,
    };
    if !text.starts_with('/') {
        return Err(SpecError::Invalid(format!(
            "the working directory '{text}' is invalid, it needs to be an absolute path"
        )));
    }
    let mut folder = PathBuf::from("/");
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => folder.push(name),
            Component::ParentDir => drop(folder.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Option<Vec<String>> {
        Some(text.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn entrypoint_and_command_are_one_line_and_cannot_both_be_missing() {
        let config =
            ContainerConfig { entrypoint: words(&["a"]), cmd: words(&["b", "c"]), ..Default::default() };
        assert_eq!(arguments(&config, false).unwrap(), ["a", "b", "c"]);
        assert_eq!(arguments(&config, true).unwrap(), ["/sbin/docker-init", "--", "a", "b", "c"]);
        assert_eq!(arguments(&ContainerConfig::default(), true), Err(SpecError::NoCommand));
    }

    #[test]
    fn variables_of_the_configuration_replace_remove_and_follow() {
        let config = ContainerConfig {
            hostname: Some("box".into()),
            tty: Some(true),
            env: words(&["TERM", "B=1=2", "PATH=/bin", "GONE"]),
            ..Default::default()
        };
        assert_eq!(environment(&config).unwrap(), ["PATH=/bin", "HOSTNAME=box", "B=1=2"]);
        let config = ContainerConfig { env: words(&["=x"]), ..Default::default() };
        assert_eq!(environment(&config).unwrap_err().to_string(), "invalid environment variable: =x");
    }

    #[test]
    fn a_folder_is_absolute_and_clean() {
        let of =
            |text: &str| folder(&ContainerConfig { working_dir: Some(text.into()), ..Default::default() });
        assert_eq!(of("").unwrap(), Path::new("/"));
        assert_eq!(of("/a/./../../b/").unwrap(), Path::new("/b"));
        assert_eq!(
            of("app").unwrap_err().to_string(),
            "the working directory 'app' is invalid, it needs to be an absolute path"
        );
    }
}
