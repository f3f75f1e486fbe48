//! `top`: the processes in a container, as `ps` shows them.

use serde::Deserialize;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::table;
use crate::cli::session::{self, Session};

/// `holm top`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    // One argument list, because the options of ps are not ours.
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER [ps OPTIONS]")]
    container_and_options: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Processes {
    titles: Vec<String>,
    processes: Option<Vec<Vec<String>>>,
}

/// Columns are at least this wide, with so much room between them.
const NARROWEST: usize = 20;
const PADDING: usize = 3;

/// Prints the table that the engine gives.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let (container, options) = match args.container_and_options.split_first() {
        Some((container, options)) => (container.as_str(), options),
        None => ("", &[][..]),
    };
    let call = Call::get(container_path(container, "/top")?)
        .option("ps_args", (!options.is_empty()).then(|| options.join(" ")));
    let processes: Processes = session.client.send(call).await?.json().await?;
    session::print(&render(&processes))
}

fn render(processes: &Processes) -> String {
    let lines = std::iter::once(&processes.titles).chain(processes.processes.iter().flatten());
    let text: String = lines.map(|cells| cells.join("\t") + "\n").collect();
    table::align(&text, NARROWEST, PADDING)
}
