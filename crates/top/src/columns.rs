//! Texts in columns of the terminal: a letter of Chinese or an emoji takes two of them, an accent none.

use ratatui_core::style::Style;
use ratatui_core::text::Span;

/// The columns before a text in lines with a label.
pub(crate) const LABEL: usize = 7;

/// How many columns a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in at most `most` columns; a dot stands for the end that is not shown.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (span, mut cut) = (Span::raw(text), String::new());
    for letter in span.styled_graphemes(Style::new()) {
        if width(&cut) + width(letter.symbol) >= most {
            break;
        }
        cut += letter.symbol;
    }
    cut.push(if cut.ends_with(' ') { ' ' } else { '.' });
    cut
}

/// The text in exactly `most` columns.
#[must_use]
pub fn fit(text: &str, most: usize, is_right: bool) -> String {
    let text = cut(text, most);
    let gap = " ".repeat(most.saturating_sub(width(&text)));
    if is_right { gap + &text } else { text + &gap }
}

/// The text in lines of at most `most` columns, cut between words, behind a label.
pub(crate) fn wrapped(label: &str, text: &str, most: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), format!("{label:<LABEL$}"));
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_begun = width(&line) > LABEL;
        if is_begun && width(&line) + 1 + width(word) > most {
            lines.push(std::mem::replace(&mut line, " ".repeat(LABEL)));
        } else if is_begun {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.into_iter().map(|line| cut(&line, most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_wide_as_a_terminal_shows_them() {
        for (text, most, cut_text, fitted) in [
            ("plain", 8, "plain", "plain   "),
            ("plain", 4, "pla.", "pla."),
            ("测试网桥", 8, "测试网桥", "测试网桥"),
            ("测试网桥", 6, "测试.", "测试. "),
            ("🦀🦀🦀", 4, "🦀.", "🦀. "),
            ("e\u{301}te\u{301}", 4, "e\u{301}te\u{301}", "e\u{301}te\u{301} "),
            ("👨‍👩‍👧 home", 4, "👨‍👩‍👧  ", "👨‍👩‍👧  "),
        ] {
            assert_eq!(cut(text, most), cut_text, "{text}");
            assert_eq!(fit(text, most, false), fitted, "{text}");
            assert_eq!(width(&fit(text, most, true)), most, "{text}");
        }
        assert_eq!(wrapped("a:", "测试 测试 测试", 16), ["a:     测试 测试", "       测试"]);
    }
}
