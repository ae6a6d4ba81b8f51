//! A line of words: separated by spaces, in quotes if they contain some.

use adit_service::config::value::Wrong;
use std::ops::Range;

/// A word and its bytes in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) part: Range<usize>,
}

impl Word {
    /// An error in this word.
    pub(super) fn wrong(&self, message: impl std::fmt::Display) -> Wrong {
        Wrong::new(message).part(self.part.clone())
    }
}

/// Splits a line. In quotes (`"` or `'`), a backslash precedes a quote or a backslash.
///
/// # Errors
/// A quote that does not end.
pub(super) fn split(line: &str) -> Result<Vec<Word>, Wrong> {
    let mut words = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, first)) = chars.peek() {
        if first.is_whitespace() {
            chars.next();
            continue;
        }
        let mut text = String::new();
        let quote = matches!(first, '"' | '\'').then_some(first);
        if quote.is_some() {
            chars.next();
        }
        let mut end = None;
        while let Some(&(at, c)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                end = Some(at);
                break;
            }
            chars.next();
            if Some(c) == quote {
                end = Some(at + 1);
                break;
            }
            let escaped = chars.peek().map(|&(_, next)| next);
            match escaped {
                Some(next) if quote.is_some() && c == '\\' && matches!(next, '"' | '\'' | '\\') => {
                    text.push(next);
                    chars.next();
                }
                _ => text.push(c),
            }
        }
        if end.is_none() && quote.is_some() {
            let wrong = Wrong::new("has a quote that does not end").part(start..line.len());
            return Err(wrong);
        }
        words.push(Word { text, part: start..end.unwrap_or(line.len()) });
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_hold_a_command_together() {
        let words = split(r#"run  h1 "echo \"a b\" \n" 'it''s' "" x"#).unwrap();
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["run", "h1", r#"echo "a b" \n"#, "it", "s", "", "x"]);
        assert_eq!(words[1].part, 5..7);
        assert_eq!(split("a \"b").unwrap_err().part, Some(2..4));
        assert_eq!(split("  ").unwrap(), []);
    }
}
