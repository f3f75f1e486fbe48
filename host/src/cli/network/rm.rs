//! `network rm`: removes networks.

use super::network_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm network rm`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

/// Removes one after the other and prints the names of those that went.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut failed = false;
    for network in &args.networks {
        let call = Call::delete(network_path(network, ""));
        match session.client.send(call).await {
            Ok(_) => session::print_line(network)?,
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => {
                error.print(&mut std::io::stderr().lock());
                failed = true;
            }
        }
    }
    // All has been said.
    if failed { Err(CliError::Exit(1)) } else { Ok(()) }
}
