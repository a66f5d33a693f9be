//! Text in the cells of a terminal: how wide it is, and where it breaks. Pure.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Cells that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// As much of the beginning as fits, with `…` where something was cut off.
pub(super) fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut out = String::new();
    for grapheme in text.graphemes(true) {
        if width(&out) + width(grapheme) + 1 > cells {
            break;
        }
        out.push_str(grapheme);
    }
    if cells > 0 {
        out.push('…');
    }
    out
}

/// As much of the end as fits.
pub(super) fn tail(text: &str, cells: usize) -> &str {
    let mut begin = text.len();
    let mut used = 0;
    for (index, grapheme) in text.grapheme_indices(true).rev() {
        used += width(grapheme);
        if used > cells {
            break;
        }
        begin = index;
    }
    &text[begin..]
}

/// Lines of at most `cells` cells, broken between words where possible; at least one line.
pub(super) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(2);
    text.split('\n').flat_map(|line| wrap_line(line, cells)).collect()
}

fn wrap_line(text: &str, cells: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_word_bounds() {
        let wide = width(word);
        if used + wide <= cells {
            line.push_str(word);
            used += wide;
            continue;
        }
        if word.chars().all(char::is_whitespace) {
            // A space at the end of a line is not seen.
            lines.push(std::mem::take(&mut line));
            used = 0;
            continue;
        }
        if used > 0 && wide <= cells {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            (line, used) = (word.to_owned(), wide);
            continue;
        }
        for grapheme in word.graphemes(true) {
            let wide = width(grapheme);
            if used + wide > cells {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push_str(grapheme);
            used += wide;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_long_words_break_anywhere() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn wide_characters_take_two_cells_and_are_never_cut_in_half() {
        assert_eq!(wrap("世界世界", 5), ["世界", "世界"]);
        assert_eq!(wrap("👩‍👩‍👧👩‍👩‍👧", 3), ["👩‍👩‍👧", "👩‍👩‍👧"]);
        assert_eq!((cut("世界世", 4), tail("世界世", 3)), ("世…".to_owned(), "世"));
    }

    #[test]
    fn no_line_is_wider_than_allowed_and_no_word_is_lost() {
        for text in [
            "the quick brown fox jumps",
            "https://example.org/a/very/long/address and more",
            "e\u{301}e\u{301}e\u{301}",
        ] {
            for cells in 2..30 {
                let lines = wrap(text, cells);
                assert!(lines.iter().all(|it| width(it) <= cells), "{lines:?}");
                let joined: String = lines.concat().split_whitespace().collect();
                assert_eq!(joined, text.split_whitespace().collect::<String>());
            }
        }
    }

    #[test]
    fn what_fits_is_not_cut() {
        assert_eq!(
            (cut("abc", 3), cut("abcd", 3), cut("abc", 0)),
            ("abc".into(), "ab…".into(), String::new())
        );
        assert_eq!((tail("abc", 5), tail("abc", 2)), ("abc", "bc"));
    }
}
