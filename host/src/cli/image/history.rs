//! `history`: the steps that made an image.

use serde::Deserialize;

use super::{archive, image_path};
use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table::{ellipsis, short_id};
use crate::cli::output::{time, units};
use crate::cli::session::{self, Session};

/// `holm history`
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value = "true", action = clap::ArgAction::SetTrue)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "")]
    platform: String,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "IMAGE")]
    image: String,
}

const COLUMNS: [Column; 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT_TABLE: &str = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// Columns of a step that is not shown whole.
const STEP_WIDTH: usize = 45;
/// 2000-01-01: builds that set times to zero mean none at all.
const NO_DATE_BEFORE: i64 = 946_684_800;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Step {
    id: String,
    created: i64,
    created_by: String,
    size: i64,
    comment: String,
}

/// Asks the daemon and prints the steps, the last first.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let table = if args.human { TABLE } else { EXACT_TABLE };
    let format = match args.format.as_str() {
        "" | "table" if args.quiet => Format::parse("{{.ID}}", ""),
        format => Format::parse(format, table),
    };
    let format = format.map_err(template_error)?;
    let platform = archive::platform(&args.platform)?;
    let call = Call::get(image_path(&args.image, "/history")).option("platform", platform);
    let steps: Vec<Step> = session.client.send(call).await?.json().await?;
    let now = time::now();
    let rows: Vec<Row> = steps.iter().map(|step| row(step, &args, now)).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

fn row(step: &Step, args: &Args, now: i64) -> Row {
    let since = match step.created {
        created if !args.human => time::rfc3339(created),
        created if created <= NO_DATE_BEFORE => "N/A".to_owned(),
        created => time::ago(created, now),
    };
    let by = step.created_by.replace('\t', " ");
    Row::default()
        .with("ID", if args.no_trunc { &step.id } else { short_id(&step.id) })
        .with("CreatedSince", since)
        .with("CreatedAt", time::rfc3339(step.created))
        .with("CreatedBy", if args.no_trunc { by } else { ellipsis(&by, STEP_WIDTH) })
        .with("Size", if args.human { units::size(step.size) } else { step.size.to_string() })
        .with("Comment", step.comment.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(human: bool) -> String {
        let step = |id: &str, created, by: &str, size| Step {
            id: id.to_owned(),
            created,
            created_by: by.to_owned(),
            size,
            comment: String::new(),
        };
        let args = Args { human, ..Args::default() };
        let steps = [
            step("sha256:ffbf47aa4d5dbf5c", 1_700_000_000, "CMD\t[\"sh\"]", 0),
            step("<missing>", 0, &"x".repeat(50), 1_982_000),
        ];
        let rows: Vec<Row> = steps.iter().map(|step| row(step, &args, 1_700_000_900)).collect();
        Format::parse("", if human { TABLE } else { EXACT_TABLE }).unwrap().render(&COLUMNS, &rows).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            table(true),
            format!(
                "IMAGE          CREATED          CREATED BY                                      SIZE      COMMENT\n\
                 ffbf47aa4d5d   15 minutes ago   CMD [\"sh\"]                                      0B        \n\
                 <missing>      N/A              {}…   1.98MB    \n",
                "x".repeat(44)
            )
        );
    }

    #[test]
    fn exact_sizes_are_in_bytes() {
        assert!(table(false).contains("   1982000   "), "{}", table(false));
    }
}
