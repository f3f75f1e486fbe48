//! `system check`: whether all of the machine's images are whole.

use holm_api::check::{PATH, Report};

use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::units;
use crate::cli::session::{self, Session};

/// Prints what was looked at and what is wrong. Anything wrong is a failure.
pub(crate) async fn run(session: &Session) -> Result<(), CliError> {
    let report: Report = session.client.send(Call::get(PATH)).await?.json().await?;
    session::print(&text(&report))?;
    match report.problems.len() {
        0 => Ok(()),
        1 => Err(CliError::said("the image store is not whole: 1 problem")),
        count => Err(CliError::said(format!("the image store is not whole: {count} problems"))),
    }
}

fn text(report: &Report) -> String {
    let count = |number: u64, one: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    let mut text = format!(
        "{}, {}, {} of {}, {}, {}\n",
        count(report.images, "image"),
        count(report.names, "name"),
        count(report.blobs, "blob"),
        units::size(i64::try_from(report.bytes).unwrap_or(i64::MAX)),
        count(report.layers, "layer"),
        count(report.containers, "container"),
    );
    if report.problems.is_empty() {
        text.push_str("All of it is whole.\n");
    }
    for problem in &report.problems {
        text.push_str(problem);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_follows_what_was_looked_at() {
        let mut report =
            Report { images: 1, names: 2, blobs: 3, bytes: 1500, layers: 1, ..Report::default() };
        assert_eq!(
            text(&report),
            "1 image, 2 names, 3 blobs of 1.5kB, 1 layer, 0 containers\nAll of it is whole.\n"
        );
        report.problems.push("blob a is damaged".to_owned());
        assert!(text(&report).ends_with("0 containers\nblob a is damaged\n"));
    }
}
