//! Makes untrusted text safe for a terminal.

/// Returns `text` with control characters, and others that a terminal may interpret or hide, as
/// escapes. Quotes stay.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks of writing direction are not control characters, but they reorder the text around them.
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\'' | '"' => safe.push(c),
            _ if reorders => safe.extend(c.escape_unicode()),
            _ => safe.extend(c.escape_debug()),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(printable("can't \"büro\""), "can't \"büro\"");
        assert_eq!(printable("\u{1b}[31m\r\n\u{9b}"), r"\u{1b}[31m\r\n\u{9b}");
        assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
    }
}
