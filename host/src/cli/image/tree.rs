//! `images --tree`: an image a line, with what it takes and whether containers use it. The engine keeps one platform
//! of each image, so nothing is ever below one.

use super::images::Image;
use crate::cli::error::CliError;
use crate::cli::output::table::short_id;
use crate::cli::output::units;
use crate::cli::session;
use crate::os::terminal;

const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
const LEGEND: &str = " Info ->  U In Use ";
const IN_USE: &str = "U";
/// Where there is no terminal.
const USUAL_WIDTH: usize = 80;
const LEAST_WIDTH: usize = 20;
/// Between columns.
const SPACING: usize = 3;
/// The first column is never narrower for another one's sake.
const LEAST_NAME: usize = 12;

/// A column beside the first.
struct Column {
    title: &'static str,
    width: usize,
    to_the_right: bool,
    value: fn(&Image) -> String,
}

const COLUMNS: [Column; 4] = [
    Column { title: "ID", width: 12, to_the_right: false, value: |image| short_id(&image.id).to_owned() },
    Column { title: "DISK USAGE", width: 10, to_the_right: true, value: |image| units::size(image.size) },
    // Of the manifests that an engine keeps beside its images.
    Column { title: "CONTENT SIZE", width: 12, to_the_right: true, value: |_| units::size(0) },
    Column {
        title: "EXTRA",
        width: 5,
        to_the_right: false,
        value: |image| if image.containers > 0 { IN_USE.to_owned() } else { String::new() },
    },
];

/// Prints them as wide as the terminal is.
pub(super) fn print(images: Vec<Image>, all: bool) -> Result<(), CliError> {
    let columns = terminal::size().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0);
    session::print(&render(images, all, columns.unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH)))
}

fn render(mut images: Vec<Image>, all: bool, width: usize) -> String {
    images.retain(|image| all || !image.is_dangling());
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let (name_width, columns) = fitted(&images, width);
    let mut text = format!("{WARNING}\n{LEGEND:>width$}\n\n{:name_width$}", "IMAGE");
    for column in columns {
        text.push_str(&cell(column, column.title));
    }
    text.push('\n');
    for image in &images {
        let mut names: Vec<&str> = image.repo_tags.iter().flatten().map(String::as_str).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let (last, others) =
            names.split_last().map_or(("<untagged>", &[][..]), |(last, others)| (*last, others));
        // Only the last name shares its line.
        for name in others {
            text.push_str(&shortened(name, width));
            text.push('\n');
        }
        text.push_str(&format!("{:name_width$}", shortened(last, name_width)));
        for column in columns {
            text.push_str(&cell(column, &(column.value)(image)));
        }
        text.push('\n');
    }
    text
}

/// How wide the names are, and the columns for which there is room.
fn fitted(images: &[Image], width: usize) -> (usize, &'static [Column]) {
    let mut left = width;
    let mut count = 0;
    for column in &COLUMNS {
        let taken = column.width + SPACING;
        if left < taken + LEAST_NAME {
            break;
        }
        left -= taken;
        count += 1;
    }
    let names = images.iter().flat_map(|image| image.repo_tags.iter().flatten());
    let widest = names.map(String::len).chain(["Image".len()]).max().unwrap_or(0);
    (left.min(widest), &COLUMNS[..count])
}

fn cell(column: &Column, value: &str) -> String {
    let (width, value) = (column.width, shortened(value, column.width));
    match column.to_the_right {
        true => format!("{:SPACING$}{value:>width$}", ""),
        false => format!("{:SPACING$}{value:width$}", ""),
    }
}

/// What does not fit loses its end.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], created: i64, containers: i64) -> Image {
        Image {
            id: "sha256:ffbf47aa4d5dbf5c".to_owned(),
            repo_tags: Some(tags.iter().map(|text| (*text).to_owned()).collect()),
            created,
            size: 1_982_000,
            containers,
            ..Image::default()
        }
    }

    #[test]
    fn the_newest_comes_first_and_each_of_its_names_has_a_line() {
        let images = vec![image(&["old:1"], 1, 0), image(&["new:1", "newer:latest"], 2, 1), image(&[], 3, 0)];
        let shown = render(images, false, 80);
        let lines: Vec<&str> = shown.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "IMAGE          ID             DISK USAGE   CONTENT SIZE   EXTRA",
                "newer:latest",
                "new:1          ffbf47aa4d5d       1.98MB             0B   U    ",
                "old:1          ffbf47aa4d5d       1.98MB             0B        ",
            ]
        );
    }

    #[test]
    fn columns_without_room_are_left_out_and_names_shortened() {
        let shown = render(vec![image(&["registry.example/team/app:1"], 1, 0)], false, 40);
        assert_eq!(shown.lines().last(), Some("registry.ex…   ffbf47aa4d5d       1.98MB"));
        let narrow = render(vec![image(&[], 1, 0)], true, 20);
        assert_eq!(narrow.lines().last(), Some("<unt…"));
    }
}
