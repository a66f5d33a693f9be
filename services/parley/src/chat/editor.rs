//! The input line: text, cursor, and what the keys do to them. Pure. It moves by what a reader sees as one character.

use unicode_segmentation::UnicodeSegmentation;

/// Longest input, bytes: more than any message that the server takes.
const LONGEST: usize = 20_000;

/// A line being written; a pasted or wished line end is part of it.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    /// A byte index on a boundary of graphemes.
    cursor: usize,
}

impl Editor {
    /// What was written so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What stands before the cursor.
    pub(super) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Writes at the cursor. Too much is left out.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if self.text.len() + text.len() <= LONGEST {
            self.text.insert_str(self.cursor, &text);
            self.cursor += text.len();
        }
    }

    /// Takes the line out.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// One character back.
    pub(super) fn left(&mut self) {
        self.cursor -= self.text[..self.cursor].graphemes(true).next_back().map_or(0, str::len);
    }

    /// One character on.
    pub(super) fn right(&mut self) {
        self.cursor += self.text[self.cursor..].graphemes(true).next().map_or(0, str::len);
    }

    /// To the beginning.
    pub(super) fn home(&mut self) {
        self.cursor = 0;
    }

    /// To the end.
    pub(super) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Removes the character before the cursor.
    pub(super) fn backspace(&mut self) {
        let end = self.cursor;
        self.left();
        self.text.drain(self.cursor..end);
    }

    /// Removes the character at the cursor.
    pub(super) fn delete(&mut self) {
        let begin = self.cursor;
        self.right();
        self.text.drain(begin..self.cursor);
        self.cursor = begin;
    }

    /// Removes the word before the cursor.
    pub(super) fn delete_word(&mut self) {
        let before = &self.text[..self.cursor];
        let word = before.trim_end();
        let begin = word.rfind(char::is_whitespace).map_or(0, |space| {
            space + word[space..].chars().next().map_or(0, char::len_utf8)
        });
        self.text.drain(begin..self.cursor);
        self.cursor = begin;
    }

    /// Removes everything before the cursor.
    pub(super) fn delete_before(&mut self) {
        self.text.drain(..self.cursor);
        self.cursor = 0;
    }

    /// Removes everything from the cursor on.
    pub(super) fn delete_after(&mut self) {
        self.text.truncate(self.cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn a_character_of_many_code_points_is_one() {
        let mut editor = editor("a👩‍👩‍👧e\u{301}");
        editor.left();
        editor.backspace();
        assert_eq!((editor.text(), editor.before_cursor()), ("ae\u{301}", "a"));
        editor.delete();
        assert_eq!(editor.text(), "a");
    }

    #[test]
    fn at_the_ends_nothing_happens() {
        let mut editor = editor("ö");
        editor.right();
        editor.delete();
        editor.home();
        editor.left();
        editor.backspace();
        assert_eq!(editor.text(), "ö");
    }

    #[test]
    fn words_and_ends_are_cut() {
        let mut editor = editor("one two\u{3000}three  ");
        editor.delete_word();
        assert_eq!(editor.text(), "one two\u{3000}");
        editor.delete_word();
        assert_eq!(editor.text(), "one ");
        editor.insert("x");
        editor.left();
        editor.delete_after();
        assert_eq!(editor.text(), "one ");
        editor.delete_before();
        assert_eq!(editor.text(), "");
        editor.delete_word();
    }

    #[test]
    fn a_pasted_line_end_is_one_and_too_much_is_left_out() {
        let mut editor = editor("a\r\nb\rc");
        assert_eq!(editor.text(), "a\nb\nc");
        editor.insert(&"x".repeat(LONGEST));
        assert_eq!(editor.take(), "a\nb\nc");
        assert_eq!(editor.before_cursor(), "");
    }
}
