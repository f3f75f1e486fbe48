//! A client's configuration laid over its image's, by Docker's rules (moby, `daemon/commit.go`).

use holm_api::models::{ContainerConfig, HealthConfig, ImageConfig};

/// Fills in what the client left open: the image's user, ports, variables, labels, command, health check, folder,
/// stop signal and volumes.
pub fn merge(config: &mut ContainerConfig, image: &ImageConfig) {
    or_text(&mut config.user, &image.user);
    or_text(&mut config.working_dir, &image.working_dir);
    or_text(&mut config.stop_signal, &image.stop_signal);
    add_missing(&mut config.exposed_ports, &image.exposed_ports, |port| port);
    add_missing(&mut config.volumes, &image.volumes, |volume| volume);
    add_missing(&mut config.env, &image.env, |variable| variable.split('=').next().unwrap_or_default());
    merge_command(config, image);
    merge_labels(config, image);
    if let Some(theirs) = &image.healthcheck {
        match &mut config.healthcheck {
            None => config.healthcheck = Some(theirs.clone()),
            Some(ours) => merge_health(ours, theirs),
        }
    }
}

/// An entrypoint of the client's own takes the image's command away: it was meant for the image's entrypoint. One
/// that is `[""]` (`--entrypoint ""`) resets the image's as well, and is then none.
fn merge_command(config: &mut ContainerConfig, image: &ImageConfig) {
    if is_empty(&config.entrypoint) {
        if is_empty(&config.cmd) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.entrypoint.as_ref().is_some_and(|words| words.len() == 1 && words[0].is_empty()) {
        config.entrypoint = None;
    }
}

fn merge_labels(config: &mut ContainerConfig, image: &ImageConfig) {
    let ours = config.labels.get_or_insert_default();
    for (name, value) in image.labels.iter().flatten() {
        ours.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

fn merge_health(ours: &mut HealthConfig, theirs: &HealthConfig) {
    if is_empty(&ours.test) {
        ours.test.clone_from(&theirs.test);
    }
    for (ours, theirs) in [
        (&mut ours.interval, theirs.interval),
        (&mut ours.timeout, theirs.timeout),
        (&mut ours.retries, theirs.retries),
        (&mut ours.start_period, theirs.start_period),
        (&mut ours.start_interval, theirs.start_interval),
    ] {
        if ours.unwrap_or(0) == 0 {
            *ours = theirs;
        }
    }
}

fn or_text(ours: &mut Option<String>, theirs: &Option<String>) {
    if ours.as_deref().unwrap_or_default().is_empty() {
        ours.clone_from(theirs);
    }
}

fn add_missing(ours: &mut Option<Vec<String>>, theirs: &Option<Vec<String>>, key: fn(&str) -> &str) {
    let Some(theirs) = theirs else { return };
    let ours = ours.get_or_insert_default();
    let known = ours.len();
    for value in theirs {
        if !ours[..known].iter().any(|own| key(own) == key(value)) {
            ours.push(value.clone());
        }
    }
}

fn is_empty(words: &Option<Vec<String>>) -> bool {
    words.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_terminator(' ').map(str::to_owned).collect())
    }

    fn command(
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
    ) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let mut config = ContainerConfig { entrypoint, cmd, ..Default::default() };
        let image = ImageConfig { entrypoint: words("entry"), cmd: words("image cmd"), ..Default::default() };
        merge(&mut config, &image);
        (config.entrypoint, config.cmd)
    }

    #[test]
    fn the_image_says_what_to_run_until_the_client_does() {
        assert_eq!(command(None, None), (words("entry"), words("image cmd")));
        assert_eq!(command(None, words("mine")), (words("entry"), words("mine")));
        assert_eq!(command(words("own"), None), (words("own"), None));
        assert_eq!(command(words("own"), words("mine")), (words("own"), words("mine")));
    }

    #[test]
    fn an_empty_entrypoint_is_none_and_takes_the_images_command_away() {
        assert_eq!(command(Some(vec![String::new()]), words("mine")), (None, words("mine")));
        assert_eq!(command(Some(vec![String::new()]), None), (None, None));
        assert_eq!(command(Some(Vec::new()), None), (Some(Vec::new()), words("image cmd")));
    }

    #[test]
    fn variables_are_the_clients_where_both_name_them() {
        let mut config = ContainerConfig { env: words("A=mine B"), ..Default::default() };
        merge(
            &mut config,
            &ImageConfig { env: words("PATH=/bin A=image B=image C=3"), ..Default::default() },
        );
        assert_eq!(config.env, words("A=mine B PATH=/bin C=3"));
    }

    #[test]
    fn the_rest_comes_from_the_image_where_it_is_open() {
        let label = |value: &str| [("label".to_owned(), value.to_owned())].into();
        let image = ImageConfig {
            user: Some("app".into()),
            working_dir: Some("/app".into()),
            stop_signal: Some("SIGINT".into()),
            exposed_ports: words("80/tcp"),
            labels: Some(label("image")),
            healthcheck: Some(HealthConfig {
                test: words("CMD true"),
                retries: Some(3),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut config = ContainerConfig {
            user: Some(String::new()),
            working_dir: Some("/mine".into()),
            exposed_ports: words("81/tcp 80/tcp"),
            labels: Some(label("mine")),
            healthcheck: Some(HealthConfig { retries: Some(5), ..Default::default() }),
            ..Default::default()
        };
        merge(&mut config, &image);
        assert_eq!(config.user.as_deref(), Some("app"));
        assert_eq!(config.working_dir.as_deref(), Some("/mine"));
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(config.exposed_ports, words("81/tcp 80/tcp"));
        assert_eq!(config.labels, Some(label("mine")));
        let health = config.healthcheck.unwrap();
        assert_eq!((health.test, health.retries), (words("CMD true"), Some(5)));
    }
}
