//! Lines of bars, and the characters of a terminal.

/// The characters that a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Block elements and lines.
    Unicode,
    /// ASCII alone.
    Ascii,
}

impl Charset {
    /// Bars from the lowest to the highest.
    const fn bars(self) -> &'static [char] {
        match self {
            Self::Unicode => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &['.', ':', '-', '=', '+', '*', '#', '@'],
        }
    }

    /// A rule across the screen.
    pub(crate) const fn rule(self) -> char {
        match self {
            Self::Unicode => '─',
            Self::Ascii => '-',
        }
    }

    /// What follows the heading of a column that is sorted by: upwards and downwards.
    pub(crate) const fn arrows(self) -> [char; 2] {
        match self {
            Self::Unicode => ['▲', '▼'],
            Self::Ascii => ['^', 'v'],
        }
    }
}

/// The values as bars, the last at the right end of `width` characters: zero is a space, and all else shows. The
/// highest bar is `most`.
pub(crate) fn spark(values: &[f64], most: f64, width: usize, charset: Charset) -> String {
    let bars = charset.bars();
    let first = values.len().saturating_sub(width);
    let shown = values.get(first..).unwrap_or_default();
    let mut line = " ".repeat(width.saturating_sub(shown.len()));
    line.extend(shown.iter().map(|value| match level(*value, most, bars.len()) {
        None => ' ',
        Some(level) => bars.get(level).copied().unwrap_or(' '),
    }));
    line
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of 0 to 1 times eight levels"
)]
fn level(value: f64, most: f64, levels: usize) -> Option<usize> {
    let share = (value / most).clamp(0.0, 1.0);
    (value > 0.0 && share > 0.0)
        .then(|| ((share * levels as f64).ceil() as usize).clamp(1, levels) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_at_the_right_and_the_least_shows() {
        let line = |values: &[f64], charset| spark(values, 8.0, 6, charset);
        assert_eq!(line(&[0.0, 0.001, 4.0, 8.0], Charset::Unicode), "   ▁▄█");
        assert_eq!(line(&[0.0, 0.001, 4.0, 8.0], Charset::Ascii), "   .=@");
        assert_eq!(line(&[8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 99.0], Charset::Ascii), ".....@");
        assert_eq!(spark(&[0.0, 0.0], 0.0, 4, Charset::Ascii), "    ");
        assert_eq!(spark(&[f64::NAN, 1.0], 1.0, 2, Charset::Ascii), " @");
        assert_eq!(spark(&[1.0], 1.0, 0, Charset::Ascii), "");
    }
}
