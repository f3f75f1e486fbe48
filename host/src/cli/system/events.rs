//! `events`: what happens in the engine, as it happens.

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::arguments::OBJECT_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::time;
use crate::cli::session::{self, Session};
use crate::cli::template::sorted;

/// `holm events`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    #[arg(long, value_name = "string", default_value = "", help = OBJECT_FORMAT_HELP)]
    format: String,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string", default_value = "")]
    since: String,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string", default_value = "")]
    until: String,
}

/// Prints events until the time that was asked for, or for ever.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let template = super::object_template(&args.format, "Error parsing format")?;
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let point = |flag, text: &str| match text {
        "" => Ok(None),
        text => time::timestamp(flag, text, now).map(Some).map_err(|error| CliError::said(error.to_string())),
    };
    let call = Call::get("/events")
        .option("since", point("since", &args.since)?)
        .option("until", point("until", &args.until)?)
        .option("filters", filter::parameter(&args.filter));
    let mut events = session.client.send(call).await?.lines();
    while let Some(event) = events.next().await? {
        session::print_line(&match &template {
            Some(template) => template.render(&event).map_err(|error| CliError::said(error.to_string()))?,
            None => line(&event),
        })?;
    }
    Ok(())
}

/// `2026-11-22T10:00:00.000000000Z container start 0f… (image=alpine, name=web)`
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut line = match (event["timeNano"].as_i64(), event["time"].as_i64()) {
        (Some(nanos), _) if nanos != 0 => time::rfc3339_nanos(nanos) + " ",
        (_, Some(seconds)) if seconds != 0 => {
            time::rfc3339_nanos(seconds.saturating_mul(1_000_000_000)) + " "
        }
        _ => String::new(),
    };
    let actor = &event["Actor"];
    line.push_str(&format!("{} {} {}", text(&event["Type"]), text(&event["Action"]), text(&actor["ID"])));
    let attributes: Vec<String> = sorted(&actor["Attributes"])
        .into_iter()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_with_its_attributes_in_order() {
        let event = serde_json::json!({
            "Type": "container", "Action": "start",
            "Actor": {"ID": "0f", "Attributes": {"name": "web", "image": "alpine"}}, "time": 0,
        });
        assert_eq!(line(&event), "container start 0f (image=alpine, name=web)");
    }
}
