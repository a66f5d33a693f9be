//! Makes text from elsewhere harmless on a terminal: nobody else's words may move the cursor, change colours, or turn
//! the direction of writing.

/// Text of several lines: line ends stay, a tab becomes spaces, everything else that controls is shown.
pub(super) fn lines(text: &str) -> String {
    escaped(text, |out, character| match character {
        '\n' => out.push('\n'),
        '\t' => out.push_str("    "),
        other => out.extend(other.escape_unicode()),
    })
}

/// Text on one line, such as a name: everything that controls is shown, line ends too.
pub(super) fn line(text: &str) -> String {
    escaped(text, |out, character| match character {
        '\n' | '\t' | '\r' => out.extend(character.escape_default()),
        other => out.extend(other.escape_unicode()),
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> String {
    let mut out = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n");
    for character in text.chars() {
        if controls(character) {
            escape(&mut out, character);
        } else {
            out.push(character);
        }
    }
    out
}

/// C0, DEL and C1 controls, line and paragraph separators, marks that turn the direction of writing, tags.
fn controls(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e001f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_shown_and_not_obeyed() {
        assert_eq!(lines("\u{1b}[2Jgone"), "\\u{1b}[2Jgone");
        assert_eq!(lines("\u{9b}31m\u{7}\u{8}\u{7f}"), "\\u{9b}31m\\u{7}\\u{8}\\u{7f}");
        assert_eq!(lines("safe\rforged"), "safe\\u{d}forged");
        assert_eq!(line("ann\u{202e}nob"), "ann\\u{202e}nob");
    }

    #[test]
    fn a_line_stays_one_line_and_lines_stay_lines() {
        assert_eq!(line("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(lines("a\r\nb\tc"), "a\nb    c");
    }

    #[test]
    fn every_control_character_is_caught() {
        for code in (0..0x20).chain(0x7f..0xa0) {
            let character = char::from_u32(code).unwrap();
            let shown = line(&character.to_string());
            assert!(shown.chars().all(|it| (' '..='~').contains(&it)), "{code:x}: {shown}");
        }
    }

    #[test]
    fn words_of_any_script_stay_as_they_are() {
        for text in ["Grüße, 世界", "👩‍👩‍👧", "مرحبا", "e\u{301}"] {
            assert_eq!(lines(text), text);
        }
    }
}
