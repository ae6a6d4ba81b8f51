//! Curves and bars for a terminal.

/// The characters the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Braille dots, two by four per character, and blocks.
    Unicode,
    /// One mark per character.
    Ascii,
}

impl Charset {
    /// Unicode if the first of these locale variables that is set names UTF-8.
    pub(crate) fn of_environment() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty());
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        if utf8 { Self::Unicode } else { Self::Ascii }
    }

    /// Dots across and down in one character.
    const fn dots(self) -> (usize, usize) {
        match self {
            Self::Unicode => (2, 4),
            Self::Ascii => (1, 1),
        }
    }
}

/// Draws a curve through `points` (x, y) in `width` by `height` characters, with labels on the y axis.
/// Returns nothing unless two values of x differ.
pub(crate) fn curve(
    points: &[(f64, f64)],
    (width, height): (usize, usize),
    y_max: f64,
    label: impl Fn(f64) -> String,
    charset: Charset,
) -> Vec<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    if last.0 <= first.0 || y_max <= 0.0 || width == 0 || height == 0 {
        return Vec::new();
    }
    let (across, down) = charset.dots();
    let (columns, rows) = (width * across, height * down);
    let mut canvas = Canvas::new(width, height, charset);
    let mut before = None;
    for column in 0..columns {
        let x = first.0 + (last.0 - first.0) * float(column) / float(columns - 1);
        let row = place(at(points, x) / y_max, rows);
        // Steps between two columns are filled, so that the curve is connected.
        let (low, high) =
            before.map_or((row, row), |before: usize| (row.min(before), row.max(before)));
        for row in low..=high {
            canvas.set(column, rows - 1 - row);
        }
        before = Some(row);
    }
    let labels: Vec<String> = (0..height)
        .map(|row| match row {
            0 => label(y_max),
            row if row == height - 1 => label(0.0),
            row if row == height / 2 => label(y_max / 2.0),
            _ => String::new(),
        })
        .collect();
    let margin = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let axis = if charset == Charset::Unicode { '\u{2502}' } else { '|' };
    let lines = labels.iter().zip(canvas.lines());
    lines
        .map(|(label, line)| format!("{label:>margin$} {axis}{line}").trim_end().to_owned())
        .collect()
}

/// Draws a line for each of `bars` (name, value, note); the longest bar has `width` characters.
pub(crate) fn bars(bars: &[(String, f64, String)], width: usize, charset: Charset) -> Vec<String> {
    let most = bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let margin = bars.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let mark = if charset == Charset::Unicode { "\u{2588}" } else { "#" };
    let line = |(name, value, note): &(String, f64, String)| {
        // A small value still shows.
        let length = if *value > 0.0 { (place(value / most, width) + 1).min(width) } else { 0 };
        format!("{name:>margin$} {} {note}", mark.repeat(length))
    };
    bars.iter().map(line).collect()
}

/// Interpolates linearly at `x` between points in order of x.
fn at(points: &[(f64, f64)], x: f64) -> f64 {
    let next = points.partition_point(|point| point.0 < x);
    match (next.checked_sub(1).and_then(|before| points.get(before)), points.get(next)) {
        (Some(&(x0, y0)), Some(&(x1, y1))) if x1 > x0 => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (_, Some(point)) | (Some(point), None) => point.1,
        (None, None) => 0.0,
    }
}

/// Maps a share of 0 to 1 to one of `places`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 0 to 1 times a number of places"
)]
fn place(share: f64, places: usize) -> usize {
    ((share.clamp(0.0, 1.0) * float(places)) as usize).min(places.saturating_sub(1))
}

#[expect(clippy::cast_precision_loss, reason = "the columns and rows of a terminal")]
fn float(number: usize) -> f64 {
    number as f64
}

struct Canvas {
    charset: Charset,
    width: usize,
    /// The dots that are set in each character, row by row, as braille numbers them.
    cells: Vec<u8>,
}

/// The bit of a braille pattern for each column and row (Unicode, 2800 to 28FF).
const BRAILLE: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

impl Canvas {
    fn new(width: usize, height: usize, charset: Charset) -> Self {
        Self { charset, width, cells: vec![0; width * height] }
    }

    fn set(&mut self, column: usize, row: usize) {
        let (across, down) = self.charset.dots();
        if let Some(cell) = self.cells.get_mut(row / down * self.width + column / across) {
            *cell |= BRAILLE[column % across][row % down];
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.cells.chunks(self.width).map(|row| row.iter().map(|&cell| self.char(cell)).collect())
    }

    fn char(&self, cell: u8) -> char {
        match (cell, self.charset) {
            (0, _) => ' ',
            (cell, Charset::Unicode) => char::from_u32(0x2800 + u32::from(cell)).unwrap_or(' '),
            (_, Charset::Ascii) => '*',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(value: f64) -> String {
        format!("{value:.0}")
    }

    #[test]
    fn a_rising_line() {
        let points = [(0.0, 0.0), (10.0, 10.0)];
        let ascii = curve(&points, (5, 5), 10.0, whole, Charset::Ascii);
        assert_eq!(ascii, ["10 |    *", "   |   **", " 5 |  **", "   | **", " 0 |**"]);
        let unicode = curve(&points, (4, 2), 10.0, whole, Charset::Unicode);
        assert_eq!(unicode.len(), 2);
        assert!(unicode.concat().chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    }

    #[test]
    fn impossible_plots_are_not_drawn() {
        for points in [&[][..], &[(1.0, 1.0)], &[(1.0, 1.0), (1.0, 2.0)]] {
            assert!(curve(points, (5, 5), 1.0, whole, Charset::Ascii).is_empty());
        }
        assert!(curve(&[(0.0, 0.0), (1.0, 0.0)], (5, 5), 0.0, whole, Charset::Ascii).is_empty());
        assert!(bars(&[], 10, Charset::Ascii).is_empty());
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let rows =
            [("1".to_owned(), 100.0, "100".to_owned()), ("12".to_owned(), 1.0, "1".to_owned())];
        assert_eq!(bars(&rows, 10, Charset::Ascii), [" 1 ########## 100", "12 # 1"]);
    }
}
