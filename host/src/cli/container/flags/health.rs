//! How the engine finds out whether the container is well.

use serde_json::{Value, json};

use super::Part;
use crate::cli::error::CliError;
use crate::cli::options::{duration, integer};

#[derive(Debug, clap::Args)]
pub(super) struct HealthFlags {
    /// Command to run to check health
    #[arg(long, value_name = "string", default_value = "")]
    health_cmd: String,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0", value_parser = duration)]
    health_interval: i64,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer)]
    health_retries: i64,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0", value_parser = duration)]
    health_start_interval: i64,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0", value_parser = duration)]
    health_start_period: i64,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", default_value = "0", value_parser = duration)]
    health_timeout: i64,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    pub(super) fn write(&self, config: &mut Part) -> Result<(), CliError> {
        let numbers = [
            ("Interval", "--health-interval", self.health_interval),
            ("Timeout", "--health-timeout", self.health_timeout),
            ("Retries", "--health-retries", self.health_retries),
            ("StartPeriod", "--health-start-period", self.health_start_period),
            ("StartInterval", "--health-start-interval", self.health_start_interval),
        ];
        let given = !self.health_cmd.is_empty() || numbers.iter().any(|(.., number)| *number != 0);
        if self.no_healthcheck && given {
            return Err(CliError::said("--no-healthcheck conflicts with --health-* options"));
        }
        if self.no_healthcheck {
            config.insert("Healthcheck".to_owned(), json!({"Test": ["NONE"]}));
        } else if given {
            let mut check = Part::new();
            if !self.health_cmd.is_empty() {
                check.insert("Test".to_owned(), json!(["CMD-SHELL", self.health_cmd]));
            }
            for (name, flag, number) in numbers {
                if number < 0 {
                    return Err(CliError::said(format!("{flag} cannot be negative")));
                }
                if number > 0 {
                    check.insert(name.to_owned(), number.into());
                }
            }
            config.insert("Healthcheck".to_owned(), Value::Object(check));
        }
        Ok(())
    }
}
