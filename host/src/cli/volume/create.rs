//! `volume create`: a volume that outlives containers.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::client::Call;
use crate::cli::container::key_value;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm volume create`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", value_parser = key_value::label)]
    label: Vec<String>,
    #[arg(long, value_name = "string", hide = true)]
    name: Option<String>,
    /// Set driver specific options (default map[])
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    name: String,
}

/// Makes the volume and prints its name.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::post("/volumes/create").json(&args.body()?)?;
    let Created { name } = session.client.send(call).await?.json().await?;
    session::print_line(&name)
}

impl Args {
    fn body(&self) -> Result<Value, CliError> {
        if self.volume.is_some() && self.name.is_some() {
            return Err(CliError::said(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        let mut body = Map::from_iter([("Driver".to_owned(), Value::from(self.driver.as_str()))]);
        for (field, texts) in [("DriverOpts", &self.opt), ("Labels", &self.label)] {
            let pairs = texts.iter().map(|text| text.split_once('=').unwrap_or((text, "")));
            let map: Map<String, Value> =
                pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
            if !map.is_empty() {
                body.insert(field.to_owned(), map.into());
            }
        }
        if let Some(name) = self.volume.as_ref().or(self.name.as_ref()) {
            body.insert("Name".to_owned(), name.as_str().into());
        }
        Ok(body.into())
    }
}
