//! A text as a QR code in the terminal.

use crate::output::Output;
use adit_service::error::{Error, Result};
use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

/// The quiet zone around the code, in modules (ISO/IEC 18004).
const QUIET: usize = 4;

/// White on black, as the 256 colours have it: themes do not change these two.
const COLORS: (&str, &str) = ("\x1b[38;5;231;48;5;16m", "\x1b[0m");

/// A code, of which each line has two rows of modules as half blocks.
pub(super) struct Drawn {
    lines: Vec<Zeroizing<String>>,
}

/// Draws a text.
///
/// # Errors
/// It is longer than the largest code.
pub(super) fn draw(text: &str) -> Result<Drawn> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| {
        Error::usage("the configuration is too long for a QR code")
            .hint("Give fewer --allowed-ips, or leave out --qr.")
    })?;
    let (width, colors) = (
        code.width(),
        Zeroizing::new(code.to_colors().iter().map(|c| *c == Color::Dark).collect::<Vec<bool>>()),
    );
    let is_dark = |x: usize, y: usize| {
        let (Some(x), Some(y)) = (x.checked_sub(QUIET), y.checked_sub(QUIET)) else { return false };
        x < width && colors.get(y * width + x) == Some(&true)
    };
    let whole = width + 2 * QUIET;
    let line = |y: usize| {
        let block = |x| match (is_dark(x, y), is_dark(x, y + 1)) {
            (false, false) => '\u{2588}',
            (false, true) => '\u{2580}',
            (true, false) => '\u{2584}',
            (true, true) => ' ',
        };
        Zeroizing::new((0..whole).map(block).collect())
    };
    Ok(Drawn { lines: (0..whole).step_by(2).map(line).collect() })
}

impl Drawn {
    /// Its width in columns.
    pub(super) fn width(&self) -> usize {
        self.lines.first().map_or(0, |line| line.chars().count())
    }

    /// The lines without colours: light modules are blocks, as a terminal with a dark background needs it.
    pub(super) fn plain(&self) -> Zeroizing<String> {
        self.joined(("", ""))
    }

    /// The lines for standard output. With colours they are readable on any background.
    pub(super) fn for_terminal(&self, output: &Output) -> Zeroizing<String> {
        if output.is_colored() { self.joined(COLORS) } else { self.plain() }
    }

    fn joined(&self, (start, end): (&str, &str)) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for line in &self.lines {
            text.push_str(&format!("{start}{}{end}\n", line.as_str()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_sets_both_colours_and_resets_them() {
        let code = draw("text").unwrap();
        let colored = code.joined(COLORS);
        assert_eq!(colored.lines().count(), code.plain().lines().count());
        let (start, end) = COLORS;
        assert!(colored.lines().all(|line| line.starts_with(start) && line.ends_with(end)));
        assert!(draw(&"x".repeat(3000)).is_err());
    }
}
