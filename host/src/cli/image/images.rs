//! `images`, `image ls`: lists images, a line for each of their names.

use holm_api::Reference;
use serde::Deserialize;

use super::tree;
use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table::short_id;
use crate::cli::output::{time, units};
use crate::cli::session::{self, Session};
use crate::cli::template::TemplateError;

/// `holm images`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// List multi-platform images as a tree (EXPERIMENTAL)
    #[arg(long)]
    tree: bool,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

/// What a list of images can show.
pub(crate) const COLUMNS: [Column; 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const NONE: &str = "<none>";
/// What people type who mean a command of the group `image`.
const COMMANDS: [&str; 13] = [
    "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save",
    "tag",
];

/// An image as the daemon lists it.
#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Image {
    pub(super) id: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) repo_digests: Option<Vec<String>>,
    pub(super) created: i64,
    pub(crate) size: i64,
    pub(crate) shared_size: i64,
    pub(crate) containers: i64,
}

impl Image {
    /// Whether nobody calls it anything.
    pub(super) fn is_dangling(&self) -> bool {
        let names = |list: &Option<Vec<String>>, none: &str| match list.as_deref() {
            None | Some([]) => false,
            Some([one]) => one != none,
            Some(_) => true,
        };
        !names(&self.repo_tags, "<none>:<none>") && !names(&self.repo_digests, "<none>@<none>")
    }
}

/// What a tree cannot show, in the words of Docker's flags.
fn refuse_beside_tree(args: &Args) -> Result<(), CliError> {
    let others = [
        (args.quiet, "--quiet"),
        (args.no_trunc, "--no-trunc"),
        (args.digests, "--show-digest"),
        (!args.format.is_empty(), "--format"),
    ];
    match others.into_iter().find(|(given, _)| *given) {
        Some((_, flag)) => Err(CliError::said(format!("{flag} is not yet supported with --tree"))),
        None => Ok(()),
    }
}

/// Asks the daemon and prints the list.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if args.tree {
        refuse_beside_tree(&args)?;
    }
    let format = format(&args, &session.settings.images_format).map_err(template_error)?;
    let mut filters = args.filter.clone();
    filters.extend(args.repository.iter().map(|repository| Filter::new("reference", repository)));
    let call = Call::get("/images/json")
        .flag("all", args.all)
        .flag("manifests", args.tree)
        .option("filters", filter::parameter(&filters));
    let images: Vec<Image> = session.client.send(call).await?.json().await?;
    if args.tree {
        return tree::print(images, args.all);
    }
    let shows_digests = args.digests || format.mentions("Digest");
    let now = time::now();
    let rows: Vec<Row> = images
        .iter()
        .flat_map(|image| {
            let names = names(image, shows_digests, args.digests);
            names.into_iter().map(|name| row(image, &name, !args.no_trunc, now)).collect::<Vec<_>>()
        })
        .collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)?;
    match args.repository.as_deref() {
        Some(word) if images.is_empty() && COMMANDS.contains(&word) => {
            let program = session.program.command();
            session::warn(&format!(
                "\nNo images found matching \"{word}\": did you mean \"{program} image {word}\"?"
            ));
        }
        _ => {}
    }
    Ok(())
}

fn format(args: &Args, usual: &str) -> Result<Format, TemplateError> {
    let table = if args.digests { TABLE_WITH_DIGESTS } else { TABLE };
    let wanted = if args.format.is_empty() && !args.quiet { usual } else { &args.format };
    match wanted {
        "" | "table" if args.quiet => Format::parse("{{.ID}}", ""),
        "raw" if args.quiet => Format::parse("image_id: {{.ID}}", ""),
        "raw" => Format::parse(
            &format!(
                "repository: {{{{.Repository}}}}\\ntag: {{{{.Tag}}}}\\n{}image_id: {{{{.ID}}}}\\n\
                 created_at: {{{{.CreatedAt}}}}\\nvirtual_size: {{{{.Size}}}}\\n",
                if args.digests { "digest: {{.Digest}}\\n" } else { "" }
            ),
            "",
        ),
        format if format.starts_with("table ") && args.digests && !format.contains("{{.Digest}}") => {
            Format::parse(&format!("{format}\t{{{{.Digest}}}}"), "")
        }
        format => Format::parse(format, table),
    }
}

/// One of an image's names.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// A line for each tag, and one for each repository that is known by digest alone.
fn names(image: &Image, shows_digests: bool, lists_digests: bool) -> Vec<Name> {
    let parsed = |list: &Option<Vec<String>>| -> Vec<Reference> {
        list.iter().flatten().filter_map(|text| text.parse().ok()).collect()
    };
    let (tags, digests) = (parsed(&image.repo_tags), parsed(&image.repo_digests));
    let digests_of = |repository: &str| -> Vec<String> {
        let own = digests.iter().filter(|reference| reference.familiar_name() == repository);
        own.filter_map(|reference| Some(reference.digest()?.to_string())).collect()
    };
    let mut names = Vec::new();
    for reference in &tags {
        let repository = reference.familiar_name();
        let tag = reference.tag().unwrap_or(NONE);
        let own = if shows_digests { digests_of(&repository) } else { Vec::new() };
        let own = if own.is_empty() { vec![NONE.to_owned()] } else { own };
        names.extend(own.into_iter().map(|digest| Name {
            repository: repository.clone(),
            tag: tag.to_owned(),
            digest,
        }));
    }
    let mut untagged: Vec<String> = digests.iter().map(Reference::familiar_name).collect();
    untagged.retain(|repository| tags.iter().all(|reference| reference.familiar_name() != *repository));
    untagged.dedup();
    for repository in untagged {
        let own = if lists_digests { digests_of(&repository) } else { vec![String::new()] };
        names.extend(own.into_iter().map(|digest| Name {
            repository: repository.clone(),
            tag: NONE.to_owned(),
            digest,
        }));
    }
    if names.is_empty() {
        names.push(Name { repository: NONE.to_owned(), tag: NONE.to_owned(), digest: NONE.to_owned() });
    }
    names
}

/// A line for an image's first name alone.
pub(crate) fn first_row(image: &Image, truncated: bool, now: i64) -> Row {
    let name = names(image, false, false).into_iter().next().unwrap_or_else(|| Name {
        repository: NONE.to_owned(),
        tag: NONE.to_owned(),
        digest: String::new(),
    });
    row(image, &Name { digest: String::new(), ..name }, truncated, now)
}

fn row(image: &Image, name: &Name, truncated: bool, now: i64) -> Row {
    // -1 means that it was not counted.
    let counted = |value: i64, shown: String| if value == -1 { "N/A".to_owned() } else { shown };
    let unique = image.size - image.shared_size;
    Row::default()
        .with("ID", if truncated { short_id(&image.id) } else { &image.id })
        .with("Repository", name.repository.as_str())
        .with("Tag", name.tag.as_str())
        .with("Digest", name.digest.as_str())
        .with("CreatedSince", time::ago(image.created, now))
        .with("CreatedAt", time::go_form(image.created))
        .with("Size", units::size(image.size))
        .with("Containers", counted(image.containers, image.containers.to_string()))
        .with("VirtualSize", units::precise_size(image.size))
        .with("SharedSize", counted(image.shared_size, units::precise_size(image.shared_size)))
        .with("UniqueSize", counted(image.shared_size, units::precise_size(unique)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> Image {
        let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        Image {
            id: "sha256:ffbf47aa4d5dbf5c".to_owned(),
            repo_tags: list(tags),
            repo_digests: list(digests),
            created: 1000,
            size: 1_982_000,
            shared_size: -1,
            containers: -1,
        }
    }

    fn lines(names: &[Name]) -> Vec<String> {
        names.iter().map(|name| format!("{} {} {}", name.repository, name.tag, name.digest)).collect()
    }

    #[test]
    fn the_table_is_dockers() {
        let image = image(&["busybox:latest"], &[]);
        let rows: Vec<Row> =
            names(&image, false, false).iter().map(|name| row(&image, name, true, 1060)).collect();
        assert_eq!(
            Format::parse("", TABLE).unwrap().render(&COLUMNS, &rows).unwrap(),
            "REPOSITORY   TAG       IMAGE ID       CREATED              SIZE\n\
             busybox      latest    ffbf47aa4d5d   About a minute ago   1.98MB\n"
        );
    }

    #[test]
    fn each_tag_has_a_line_and_a_repository_without_tags_has_one() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        let both = format!("alpine@{digest}");
        let other = format!("localhost:5000/x@{digest}");
        let image = image(&["alpine:3", "alpine:latest"], &[&both, &other]);
        assert_eq!(
            lines(&names(&image, false, false)),
            ["alpine 3 <none>", "alpine latest <none>", "localhost:5000/x <none> "]
        );
        assert_eq!(
            lines(&names(&image, true, true)),
            [
                format!("alpine 3 {digest}"),
                format!("alpine latest {digest}"),
                format!("localhost:5000/x <none> {digest}")
            ]
        );
    }

    #[test]
    fn an_image_without_names_is_still_shown() {
        assert_eq!(lines(&names(&image(&[], &[]), false, false)), ["<none> <none> <none>"]);
        let dangling = image(&["<none>:<none>"], &["<none>@<none>"]);
        assert_eq!(lines(&names(&dangling, true, true)), ["<none> <none> <none>"]);
    }
}
