//! `network disconnect`: takes a container out of a network.

use serde_json::{Value, json};

use super::network_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// `holm network disconnect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

/// Does it, and says nothing.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::post(network_path(&args.network, "/disconnect")).json(&args.body())?;
    session.client.send(call).await.map(drop)
}

impl Args {
    pub(super) fn body(&self) -> Value {
        json!({"Container": self.container, "Force": self.force})
    }
}
