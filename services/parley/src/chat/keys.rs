//! The keys that change the input line: those of a shell.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::editor::Editor;

/// Does what a key does to the line; other keys do nothing.
pub(super) fn edit(editor: &mut Editor, key: KeyEvent) {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        match key.code {
            KeyCode::Char('a') => editor.home(),
            KeyCode::Char('e') => editor.end(),
            KeyCode::Char('w') | KeyCode::Backspace => editor.delete_word(),
            KeyCode::Char('u') => editor.delete_before(),
            KeyCode::Char('k') => editor.delete_after(),
            KeyCode::Char('d') => editor.delete(),
            KeyCode::Char('h') => editor.backspace(),
            _ => {}
        }
        return;
    }
    match key.code {
        KeyCode::Char(character) => editor.insert(character.encode_utf8(&mut [0; 4])),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        _ => {}
    }
}
