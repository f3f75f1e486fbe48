//! By which names a container is known on a network.

use holm_api::models::EndpointSettings;

use super::mode::is_user_defined;
use crate::engine::records::Definition;

/// Whether containers on the network find each other by name: on all but the default one, as in Docker.
pub(crate) fn has_embedded_dns(network: &str) -> bool {
    is_user_defined(network)
}

/// The container's name, its aliases, its short id and its host name, each once.
pub(crate) fn dns_names(definition: &Definition, settings: Option<&EndpointSettings>) -> Vec<String> {
    let aliases = settings.and_then(|settings| settings.aliases.clone()).unwrap_or_default();
    let hostname = definition.config.hostname.clone().filter(|name| !name.is_empty());
    let all = [definition.name.clone()].into_iter().chain(aliases);
    let all = all.chain([definition.id.short().to_owned()]).chain(hostname);
    all.fold(Vec::new(), |mut names, name| {
        if !names.contains(&name) {
            names.push(name);
        }
        names
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::records::tests::definition;

    #[test]
    fn a_container_has_each_of_its_names_once() {
        let settings = EndpointSettings {
            aliases: Some(vec!["db".to_owned(), "web".to_owned()]),
            ..EndpointSettings::default()
        };
        assert_eq!(dns_names(&definition(), Some(&settings)), ["web", "db", "0123456789ab"]);
    }
}
