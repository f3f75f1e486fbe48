//! Columns of text, aligned as Docker's are, and texts cut to fit them.

use std::fmt::Write;

/// Lines of cells apart by tabs, each column as wide as its widest cell plus `padding` and at least
/// `narrowest`. As in Go's tabwriter, a cell ends with its tab: the last of a line stands in no column, and a
/// column reaches only over neighbouring lines that have it.
pub(crate) fn align(text: &str, narrowest: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> =
        lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut first = 0;
        while first < lines.len() {
            if widths[first].len() <= column {
                first += 1;
                continue;
            }
            let block = widths[first..].iter().take_while(|cells| cells.len() > column).count();
            let cells = lines[first..first + block].iter().map(|cells| cells[column].chars().count());
            // Go's tabwriter leaves out a column whose cells are all empty.
            let width = match cells.max().unwrap_or(0) {
                0 => 0,
                widest => (widest + padding).max(narrowest),
            };
            for row in &mut widths[first..first + block] {
                row[column] = width;
            }
            first += block;
        }
    }
    let mut aligned = String::with_capacity(text.len() * 2);
    for (row, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if row > 0 {
            aligned.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            match widths.get(column) {
                Some(width) => {
                    let _ = write!(aligned, "{cell:<width$}");
                }
                None => aligned.push_str(cell),
            }
        }
    }
    aligned
}

/// The text in at most `width` columns, its cut marked by `…`.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    let wide = |character: char| unicode_width::UnicodeWidthChar::width(character).unwrap_or(1).max(1);
    if text.chars().map(wide).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut cut: String = text
        .chars()
        .take_while(|character| {
            used += wide(*character);
            used < width
        })
        .collect();
    cut.push('…');
    cut
}

/// The first twelve digits of an id, its algorithm left out.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            align("ID\tNAMES\tX\na\tlonger-than-ten\ty\n", 10, 3),
            "ID        NAMES             X\na         longer-than-ten   y\n"
        );
    }

    #[test]
    fn a_column_of_empty_cells_takes_no_room_and_the_last_cell_is_not_padded() {
        assert_eq!(align("a\t\tb\nc\t\td", 10, 3), "a         b\nc         d");
    }

    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        assert_eq!(align("wide-wide-wide\tx\nalone\na\tx", 5, 1), "wide-wide-wide x\nalone\na    x");
    }

    #[test]
    fn long_texts_are_cut_by_columns_not_by_bytes() {
        assert_eq!(ellipsis("12345678901234567890", 20), "12345678901234567890");
        assert_eq!(ellipsis("123456789012345678901", 20), "1234567890123456789…");
        assert_eq!(ellipsis("日本語日本語", 6), "日本…");
        assert_eq!(ellipsis("ééééé", 5), "ééééé");
    }

    #[test]
    fn short_ids_leave_the_algorithm_out() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("012"), "012");
    }
}
