//! Removing what is not used: what each kind of thing is asked of the engine by, and how what went is told.

use serde::Deserialize;

use super::client::Call;
use super::error::CliError;
use super::filter::{self, Filter};
use super::output::units;
use super::prompt::confirm;
use super::session::{self, Session};

/// What can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Containers that do not run.
    Containers,
    /// Networks without containers.
    Networks,
    /// Volumes without containers.
    Volumes,
    /// Images without containers.
    Images,
    /// What builds have left.
    BuildCache,
}

/// What the engine says of it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    containers_deleted: Option<Vec<String>>,
    networks_deleted: Option<Vec<String>>,
    volumes_deleted: Option<Vec<String>>,
    images_deleted: Option<Vec<Image>>,
    caches_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    untagged: String,
    deleted: String,
}

/// What went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// A title and a line for each, empty where there was nothing.
    pub(crate) list: String,
    /// Bytes that are free again.
    pub(crate) space: u64,
}

/// Removes all of a kind that the filters let through.
pub(crate) async fn prune(
    session: &Session,
    kind: Kind,
    filters: &[Filter],
    all_cache: bool,
) -> Result<Pruned, CliError> {
    let path = match kind {
        Kind::Containers => "/containers/prune",
        Kind::Networks => "/networks/prune",
        Kind::Volumes => "/volumes/prune",
        Kind::Images => "/images/prune",
        Kind::BuildCache => "/build/prune",
    };
    let call = Call::post(path).flag("all", all_cache).option("filters", filter::parameter(filters));
    Ok(tell(session.client.send(call).await?.json().await?))
}

fn tell(answer: Answer) -> Pruned {
    let images = answer.images_deleted.unwrap_or_default().into_iter();
    let images = images.map(|image| match image.untagged.as_str() {
        "" => format!("deleted: {}", image.deleted),
        name => format!("untagged: {name}"),
    });
    let lists = [
        ("Deleted Containers:", answer.containers_deleted.unwrap_or_default()),
        ("Deleted Networks:", answer.networks_deleted.unwrap_or_default()),
        ("Deleted Volumes:", answer.volumes_deleted.unwrap_or_default()),
        ("Deleted Images:", images.collect()),
        ("Deleted build cache objects:", answer.caches_deleted.unwrap_or_default()),
    ];
    let list = lists
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(title, names)| format!("{title}\n{}\n", names.join("\n")))
        .collect();
    Pruned { list, space: answer.space_reclaimed }
}

/// `… prune` of one kind: asks, removes, tells.
pub(crate) async fn command(
    session: &Session,
    kind: Kind,
    filters: &[Filter],
    question: Option<&str>,
) -> Result<(), CliError> {
    if let Some(question) = question
        && !confirm(&format!("WARNING! {question}\nAre you sure you want to continue?"))?
    {
        return Ok(());
    }
    let pruned = prune(session, kind, filters, false).await?;
    if !pruned.list.is_empty() {
        session::print_line(&pruned.list)?;
    }
    match kind {
        // A network takes no room.
        Kind::Networks => Ok(()),
        _ => session::print_line(&total(pruned.space)),
    }
}

/// `Total reclaimed space: 4.2MB`
pub(crate) fn total(space: u64) -> String {
    format!("Total reclaimed space: {}", units::precise_size(i64::try_from(space).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_listed_under_its_kind() {
        let pruned = |json: &str| tell(serde_json::from_str(json).unwrap());
        assert_eq!(
            pruned(r#"{"ImagesDeleted":[{"Untagged":"a:1"},{"Deleted":"sha256:0f"}],"SpaceReclaimed":5}"#),
            Pruned { list: "Deleted Images:\nuntagged: a:1\ndeleted: sha256:0f\n".to_owned(), space: 5 }
        );
        assert_eq!(pruned(r#"{"VolumesDeleted":null,"SpaceReclaimed":0}"#), Pruned::default());
        assert_eq!(total(2345), "Total reclaimed space: 2.345kB");
    }
}
