//! Charts for a terminal.

use crate::chart::{Chart, Kind, Series};
use crate::range::Range;

/// The characters the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Braille dots, two by four per character, and blocks.
    Unicode,
    /// One mark per character.
    Ascii,
}

impl Charset {
    /// Unicode if the first of the variables `LC_ALL`, `LC_CTYPE` and `LANG` that is set names UTF-8.
    #[must_use]
    pub fn of_environment() -> Self {
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

    /// The parts of axes: upwards, with a tick, the corner, to the right, with a tick; and a bar.
    const fn parts(self) -> [char; 6] {
        match self {
            Self::Unicode => ['│', '┤', '└', '─', '┬', '█'],
            Self::Ascii => ['|', '+', '+', '-', '+', '#'],
        }
    }
}

/// The smallest plot; a smaller one is drawn in this size.
const WIDTH_MIN: usize = 30;
const HEIGHT_MIN: usize = 4;
/// Characters per tick to the right, and lines per tick upwards.
const TICK_WIDTH: usize = 12;
const TICK_HEIGHT: usize = 2;

/// The chart as lines of at most `width` characters; each series has a plot of `height` lines of its own.
/// Empty if no point can be drawn.
#[must_use]
pub fn text(chart: &Chart, width: usize, height: usize, charset: Charset) -> Vec<String> {
    let (width, height) = (width.max(WIDTH_MIN), height.max(HEIGHT_MIN));
    let mut lines = Vec::new();
    for series in chart.series.iter().filter(|series| series.drawn().next().is_some()) {
        lines.push(match chart.series.len() {
            1 => chart.title.clone(),
            _ => format!("{}, {}", chart.title, series.name),
        });
        match chart.kind {
            Kind::Line => plot(chart, &mut lines, series, (width, height), charset),
            Kind::Bars => bars(chart, &mut lines, series, width, charset),
        }
    }
    lines
}

fn plot(
    chart: &Chart,
    lines: &mut Vec<String>,
    series: &Series,
    (width, height): (usize, usize),
    charset: Charset,
) {
    let [up, tick_up, corner, right, tick_right, _] = charset.parts();
    let y = Range::of_y(chart, ticks(height, TICK_HEIGHT));
    let mut labels = vec![String::new(); height];
    for (at, number) in y.ticks() {
        // Rows are counted from the top.
        if let Some(label) = labels.get_mut(height - 1 - place(at, height)) {
            *label = number;
        }
    }
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let columns = width.saturating_sub(margin + 2).max(1);
    let x = Range::of_x(chart, ticks(columns, TICK_WIDTH));
    lines.push(format!("{:margin$} {}", "", y.title()));
    let canvas = Canvas::of(series, (&x, &y), (columns, height), charset);
    for (label, drawn) in labels.iter().zip(canvas.lines()) {
        let axis = if label.is_empty() { up } else { tick_up };
        lines.push(format!("{label:>margin$} {axis}{drawn}").trim_end().to_owned());
    }
    let (mut axis, mut numbers) = (vec![right; columns], vec![' '; columns + 1]);
    for (at, number) in x.ticks() {
        let column = place(at, columns);
        if let Some(part) = axis.get_mut(column) {
            *part = tick_right;
        }
        // Below its tick, but whole.
        let first = (column + 1)
            .saturating_sub(number.len() / 2)
            .min((columns + 1).saturating_sub(number.len()));
        for (place, digit) in numbers.iter_mut().skip(first).zip(number.chars()) {
            *place = digit;
        }
    }
    let drawn: String = axis.into_iter().collect();
    lines.push(format!("{:margin$} {corner}{drawn}", ""));
    let drawn: String = numbers.into_iter().collect();
    lines.push(format!("{:margin$} {drawn}", "").trim_end().to_owned());
    let middle = margin + 2 + columns / 2;
    let title = x.title();
    lines.push(format!("{:1$}{title}", "", middle.saturating_sub(title.chars().count() / 2)));
}

fn bars(chart: &Chart, lines: &mut Vec<String>, series: &Series, width: usize, charset: Charset) {
    let most = series.drawn().map(|point| point.1).fold(0.0, f64::max);
    let rows: Vec<_> = series.drawn().map(|(x, y)| (chart.x.name_of(x), y)).collect();
    let margin = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0).min(width / 2);
    let notes = rows.iter().map(|row| row.1.to_string().len()).max().unwrap_or(0);
    let columns = width.saturating_sub(margin + notes + 2).max(1);
    lines.push(format!("{:margin$} {} by {}", "", chart.y.name, chart.x.name.to_lowercase()));
    for (x, y) in rows {
        let x: String = x.chars().take(margin).collect();
        // A small value still shows.
        let length = if y > 0.0 { (place(y / most, columns) + 1).min(columns) } else { 0 };
        let bar: String = std::iter::repeat_n(charset.parts()[5], length).collect();
        lines.push(format!("{x:>margin$} {bar} {y}"));
    }
}

/// The number of ticks for so many characters.
fn ticks(characters: usize, each: usize) -> u32 {
    u32::try_from(characters / each).unwrap_or(u32::MAX).clamp(2, 8)
}

/// Interpolates linearly at `x` between points in order of x; `None` outside them.
fn at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = points.partition_point(|point| point.0 < x);
    let after = points.get(next)?;
    match next.checked_sub(1).and_then(|before| points.get(before)) {
        Some(before) if after.0 > before.0 => {
            Some(before.1 + (after.1 - before.1) * (x - before.0) / (after.0 - before.0))
        }
        Some(_) => Some(after.1),
        None => (after.0 <= x).then_some(after.1),
    }
}

/// Maps a share of 0 to 1 to one of `places`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 0 to 1 times a number of places"
)]
fn place(share: f64, places: usize) -> usize {
    ((share.clamp(0.0, 1.0) * float(places.saturating_sub(1))).round()) as usize
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
    /// A line through the points of a series; columns between two points are filled, so that it is connected.
    fn of(
        series: &Series,
        (x, y): (&Range, &Range),
        (width, height): (usize, usize),
        charset: Charset,
    ) -> Self {
        let mut canvas = Self { charset, width, cells: vec![0; width * height] };
        let (across, down) = charset.dots();
        let (columns, rows) = (width * across, height * down);
        let points: Vec<_> =
            series.drawn().map(|(a, b)| (x.place(a) * float(columns - 1), y.place(b))).collect();
        let mut before = None;
        for column in 0..columns {
            // Points closer than a column are all in it.
            let (low, high) = (float(column) - 0.5, float(column) + 0.5);
            let within =
                points.iter().filter(|point| (low..high).contains(&point.0)).map(|point| point.1);
            let here = within.chain(at(&points, float(column))).map(|y| place(y, rows));
            let Some((least, most)) = here.fold(None, |ends, row| {
                Some(ends.map_or((row, row), |(least, most): (usize, usize)| {
                    (least.min(row), most.max(row))
                }))
            }) else {
                before = None;
                continue;
            };
            let last = at(&points, float(column)).map_or(most, |y| place(y, rows));
            let (from, to) =
                before.map_or((least, most), |before: usize| (least.min(before), most.max(before)));
            for row in from..=to {
                canvas.set(column, rows - 1 - row);
            }
            before = Some(last);
        }
        canvas
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
    use crate::chart::{Axis, Unit};

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "Rate".to_owned(),
            x: Axis::new("Time", Unit::Seconds),
            y: Axis::new("Packets", Unit::Count),
            kind: Kind::Line,
            series: vec![Series::new("a", points)],
        }
    }

    #[test]
    fn a_rising_line_has_axes_with_numbers() {
        let lines = text(&chart(vec![(0.0, 0.0), (10.0, 10.0)]), 30, 5, Charset::Ascii);
        assert_eq!(lines.len(), 5 + 5, "{lines:#?}");
        assert!(lines[2].starts_with("10 +") && lines[2].ends_with('*'), "{lines:#?}");
        assert!(lines[4].starts_with(" 5 +") && lines[6].starts_with(" 0 +*"), "{lines:#?}");
        assert!(lines[7].starts_with("   ++---") && lines[7].ends_with('+'), "{lines:#?}");
        assert_eq!(lines[8].split_whitespace().collect::<Vec<_>>(), ["0", "5", "10"]);
        assert_eq!(lines[9].trim(), "Time (s)");
        let unicode = text(&chart(vec![(0.0, 0.0), (10.0, 10.0)]), 30, 5, Charset::Unicode);
        assert!(unicode.concat().chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    }

    #[test]
    fn a_peak_between_two_columns_shows() {
        let mut points: Vec<_> = (0..1000).map(|x| (f64::from(x), 0.0)).collect();
        points[501].1 = 100.0;
        let lines = text(&chart(points), 40, 6, Charset::Ascii);
        assert!(lines[2].contains('*'), "{lines:#?}");
    }

    #[test]
    fn a_line_begins_and_ends_with_its_points() {
        let mut two = chart(vec![(0.0, 1.0), (4.0, 1.0)]);
        two.series.push(Series::new("b", vec![(3.0, 1.0), (4.0, 1.0)]));
        let lines = text(&two, 60, 4, Charset::Ascii);
        let second = lines.iter().skip_while(|line| *line != "Rate, b");
        let marks = second.filter(|line| line.contains('*')).map(|line| line.find('*')).next();
        assert!(marks.flatten().is_some_and(|first| first > 40), "{lines:#?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_whatever_the_points_are() {
        for points in [
            vec![],
            vec![(1.0, 1.0)],
            vec![(1.0, 1.0), (1.0, 2.0)],
            vec![(f64::NAN, 0.0), (0.0, f64::INFINITY)],
            vec![(-1e300, 0.0), (1e300, 1e300)],
            vec![(0.02, 0.0), (0.02001, 1.0)],
        ] {
            for (width, charset) in [(30, Charset::Ascii), (80, Charset::Unicode)] {
                for kind in [Kind::Line, Kind::Bars] {
                    let mut chart = chart(points.clone());
                    chart.kind = kind;
                    let lines = text(&chart, width, 8, charset);
                    let finite = points.iter().any(|(x, y)| x.is_finite() && y.is_finite());
                    assert_eq!(lines.is_empty(), !finite);
                    if points.iter().all(|point| point.1 < 1e9) {
                        assert!(
                            lines.iter().all(|line| line.chars().count() <= width),
                            "{lines:#?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bars_have_the_names_of_their_axis() {
        let mut chart = chart(vec![(1.0, 10.0), (2.0, 5.0)]);
        chart.kind = Kind::Bars;
        chart.x = Axis::named("Protocol", vec!["TCP 443".to_owned(), "ICMP".to_owned()]);
        let lines = text(&chart, 40, 8, Charset::Ascii);
        assert_eq!(lines[1], "        Packets by protocol");
        assert!(
            lines[2].starts_with("TCP 443 ###") && lines[3].starts_with("   ICMP ##"),
            "{lines:#?}"
        );
        let svg = crate::svg(&crate::Page {
            title: String::new(),
            notes: Vec::new(),
            charts: vec![chart],
        });
        assert!(svg.contains(">TCP 443</text>") && svg.contains(">ICMP</text>"), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let mut chart = chart(vec![(1.0, 100.0), (12.0, 1.0)]);
        chart.kind = Kind::Bars;
        chart.x = Axis::new("Length", Unit::Count);
        let lines = text(&chart, 30, 8, Charset::Ascii);
        assert_eq!(lines[1], "   Packets by length");
        assert_eq!(lines[2], format!(" 1 {} 100", "#".repeat(23)));
        assert_eq!(lines[3], "12 # 1");
    }
}
