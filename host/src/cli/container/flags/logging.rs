//! Where output is kept, and what happens when the container ends.

use serde_json::json;

use super::{Part, extend, pairs};
use crate::cli::error::CliError;
use crate::cli::options::restart_policy;

#[derive(Debug, clap::Args)]
pub(super) struct LoggingFlags {
    /// Logging driver for the container
    #[arg(long, value_name = "string", default_value = "")]
    log_driver: String,
    /// Log driver options
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", default_value = "no")]
    restart: String,
}

impl LoggingFlags {
    pub(super) fn write(&self, host: &mut Part) -> Result<(), CliError> {
        if self.log_driver == "none" && !self.log_opt.is_empty() {
            return Err(CliError::said("invalid logging opts for driver none"));
        }
        extend(
            host,
            json!({
                "LogConfig": {"Type": self.log_driver, "Config": pairs(&self.log_opt)},
                "RestartPolicy": restart_policy(&self.restart).map_err(CliError::said)?,
            }),
        );
        Ok(())
    }

    /// Whether the container is to be started again when it ends.
    pub(super) fn restarts(&self) -> bool {
        !matches!(self.restart.split(':').next(), Some("no" | "") | None)
    }
}
