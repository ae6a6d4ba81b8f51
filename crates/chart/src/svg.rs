//! Charts as SVG (W3C SVG 1.1), on light and on dark ground.

use crate::chart::{Chart, Kind, Page};
use crate::range::Range;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
/// Height of a chart with its title and axes.
const HEIGHT: f64 = 320.0;
/// Edges of the plot in its chart.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 736.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 264.0;
/// Height of the title of a page, and of a line of text.
const HEAD: f64 = 44.0;
const NOTE: f64 = 18.0;
/// Characters of a line of text.
const NOTE_LEN: usize = 106;
/// Ticks wanted to the right and upwards.
const TICKS: (u32, u32) = (8, 5);
/// Colours of series; more series share them.
const COLOURS: usize = 6;
/// Width of a group of bars, at most: few of them are no walls.
const GROUP_MAX: f64 = 90.0;
/// Width of a character of the legend, at most.
const CHAR: f64 = 6.4;

/// Colours and fonts, once for a file.
const STYLE: &str = "\
.chart{font-family:'DejaVu Sans','Noto Sans',sans-serif;font-size:11px}\
.chart .ground{fill:#fff}.chart text{fill:#4d5866}.chart .title{font-size:15px;font-weight:600;fill:#1c2430}\
.chart .head{font-size:18px;font-weight:600;fill:#1c2430}.chart .note{font:11px monospace;white-space:pre}\
.chart .grid{stroke:#e4e8ee}.chart .axis{stroke:#8a94a3}.chart rect,.chart circle{fill:currentColor}\
.chart polyline{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}\
.chart .s0{color:#1f6fb2}.chart .s1{color:#c4521b}.chart .s2{color:#2f8550}\
.chart .s3{color:#7a58a8}.chart .s4{color:#a07814}.chart .s5{color:#b03a6a}\
.chart polyline.s1{stroke-dasharray:7 3}.chart polyline.s2{stroke-dasharray:2 3}.chart polyline.s3{stroke-dasharray:9 3 2 3}\
.chart polyline.s4{stroke-dasharray:12 4}.chart polyline.s5{stroke-dasharray:4 4}\
@media (prefers-color-scheme:dark){.chart .ground{fill:#12171e}.chart text{fill:#a9b4c2}\
.chart .title,.chart .head{fill:#e8ecf2}.chart .grid{stroke:#28313c}.chart .axis{stroke:#6d7887}\
.chart .s0{color:#6eb2f0}.chart .s1{color:#f5925f}.chart .s2{color:#6fcf93}\
.chart .s3{color:#b594e0}.chart .s4{color:#e3c04b}.chart .s5{color:#f084ac}}";

/// Title, text and charts below each other, as one picture.
#[must_use]
pub fn svg(page: &Page) -> String {
    let mut body = String::new();
    words(&mut body, "head", (20.0, 30.0), "start", &page.title);
    let mut top = HEAD;
    for line in page.notes.iter().flat_map(|note| wrapped(note)) {
        words(&mut body, "note", (20.0, top + 12.0), "start", &line);
        top += NOTE;
    }
    top += 10.0;
    for chart in page.charts.iter().filter(|chart| !chart.is_empty()) {
        draw(&mut body, chart, top);
        top += HEIGHT;
    }
    picture(&page.title, top, &body)
}

/// One chart as a picture of its own.
pub(crate) fn alone(chart: &Chart) -> String {
    let mut body = String::new();
    draw(&mut body, chart, 0.0);
    picture(&chart.title, HEIGHT, &body)
}

fn picture(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n",
        escaped(title)
    )
}

/// A note as lines of at most `NOTE_LEN` characters, where words allow it.
fn wrapped(note: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in note.split_inclusive(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + word.trim_end().chars().count() > NOTE_LEN {
            lines.push("    ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines
}

/// Draws a chart whose upper edge is at `top`.
fn draw(svg: &mut String, chart: &Chart, top: f64) {
    let (x, y) = (Range::of_x(chart, TICKS.0), Range::of_y(chart, TICKS.1));
    let across = |place: f64| LEFT + place * (RIGHT - LEFT);
    let down = |place: f64| BOTTOM - place * (BOTTOM - TOP);
    put(svg, format_args!("<g transform=\"translate(0 {top:.1})\">\n"));
    words(svg, "title", (LEFT, 24.0), "start", &chart.title);
    for (place, number) in y.ticks() {
        line(svg, "grid", (LEFT, down(place)), (RIGHT, down(place)));
        words(svg, "tick", (LEFT - 8.0, down(place) + 4.0), "end", &number);
    }
    let names: Vec<(f64, String)> = if chart.x.names.is_empty() {
        x.ticks().collect()
    } else {
        let room = (RIGHT - LEFT) * x.unit() / CHAR;
        let named = (1u32..).zip(&chart.x.names);
        named.map(|(at, name)| (x.place(f64::from(at)), fitted(name, room))).collect()
    };
    for (place, number) in names {
        line(svg, "grid", (across(place), TOP), (across(place), BOTTOM));
        words(svg, "tick", (across(place), BOTTOM + 18.0), "middle", &number);
    }
    line(svg, "axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    line(svg, "axis", (LEFT, TOP), (LEFT, BOTTOM));
    words(svg, "name", (f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0), "middle", x.title());
    words(svg, "name", (LEFT, TOP - 10.0), "start", y.title());
    let several = u32::try_from(chart.series.len()).unwrap_or(u32::MAX).max(1);
    for ((number, series), colour) in (0u32..).zip(&chart.series).zip((0..COLOURS).cycle()) {
        match chart.kind {
            Kind::Line => {
                put(svg, format_args!("<polyline class=\"s{colour}\" points=\""));
                for point in series.drawn() {
                    let (x, y) = (across(x.place(point.0)), down(y.place(point.1)));
                    put(svg, format_args!("{x:.1},{y:.1} "));
                }
                svg.truncate(svg.trim_end().len());
                put(svg, format_args!("\"/>\n"));
                if let (Some(point), 1) = (series.drawn().next(), series.drawn().count()) {
                    let (x, y) = (across(x.place(point.0)), down(y.place(point.1)));
                    put(
                        svg,
                        format_args!(
                            "<circle class=\"s{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n"
                        ),
                    );
                }
            }
            Kind::Bars => {
                // A group of bars takes four fifths of its place.
                let group = (x.unit() * (RIGHT - LEFT) * 0.8).min(GROUP_MAX);
                let wide = (group / f64::from(several)).max(1.0);
                let first = -wide * f64::from(several) / 2.0 + wide * f64::from(number);
                for point in series.drawn() {
                    let (left, upper) = (across(x.place(point.0)) + first, down(y.place(point.1)));
                    let high = BOTTOM - upper;
                    put(
                        svg,
                        format_args!(
                            "<rect class=\"s{colour}\" x=\"{left:.1}\" y=\"{upper:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\"/>\n"
                        ),
                    );
                }
            }
        }
    }
    if chart.series.len() > 1 {
        legend(svg, chart);
    }
    svg.push_str("</g>\n");
}

/// The name in so many characters; a dot stands for the end that is not shown.
fn fitted(name: &str, room: f64) -> String {
    let fits = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) <= room;
    if fits(name.chars().count()) {
        return name.to_owned();
    }
    let mut short: String =
        name.chars().enumerate().take_while(|(at, _)| fits(at + 2)).map(|(_, char)| char).collect();
    short.push('.');
    short
}

/// The names of the series at the upper right, the first one at the left.
fn legend(svg: &mut String, chart: &Chart) {
    let width =
        |name: &str| 42.0 + CHAR * f64::from(u32::try_from(name.chars().count()).unwrap_or(0));
    let mut left = RIGHT - chart.series.iter().map(|series| width(&series.name)).sum::<f64>();
    for (series, colour) in chart.series.iter().zip((0..COLOURS).cycle()) {
        let end = left + 22.0;
        put(
            svg,
            format_args!(
                "<polyline class=\"s{colour}\" points=\"{left:.1},{0} {end:.1},{0}\"/>\n",
                TOP - 14.0
            ),
        );
        words(svg, "legend", (left + 28.0, TOP - 10.0), "start", &series.name);
        left += width(&series.name);
    }
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    put(
        svg,
        format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ),
    );
}

fn words(svg: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = escaped(text);
    put(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" xml:space=\"preserve\">{text}</text>\n"
        ),
    );
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a string takes all");
}

/// Words as XML and HTML take them.
pub(crate) fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for char in words.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no place for them.
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Series, Unit};

    fn chart(kind: Kind, series: Vec<Series>) -> Chart {
        Chart {
            title: "a < b & c\u{7}".to_owned(),
            x: Axis::new("Time", Unit::Seconds),
            y: Axis::new("Rate", Unit::BitsPerSecond),
            kind,
            series,
        }
    }

    #[test]
    fn a_chart_has_axes_ticks_units_and_a_legend_for_two_lines() {
        let down = Series::new("down", vec![(0.0, 1e6), (5.0, 9e6), (10.0, 10e6)]);
        let one = alone(&chart(Kind::Line, vec![down.clone()]));
        assert!(one.contains("a &lt; b &amp; c </text>"), "{one}");
        assert!(one.contains(">Rate (Mbit/s)<") && one.contains(">Time (s)<"));
        assert_eq!(one.matches("class=\"tick\"").count(), 6 + 6, "{one}");
        assert_eq!(one.matches("class=\"grid\"").count(), 12);
        assert_eq!(one.matches("<polyline").count(), 1);
        let mut lonely = chart(Kind::Line, vec![Series::new("x", vec![(2.0, 1e6)])]);
        lonely.x = lonely.x.over(0.0, 10.0);
        let lonely = alone(&lonely);
        assert_eq!(lonely.matches("<circle").count(), 1, "a point alone shows: {lonely}");
        assert!(lonely.contains(">10</text>"), "{lonely}");
        let up = Series::new("up", vec![(0.0, 1e6), (f64::NAN, 1.0), (10.0, 1e6)]);
        let two = alone(&chart(Kind::Line, vec![down, up]));
        assert_eq!(two.matches("<polyline").count(), 2 + 2, "two lines, two samples: {two}");
        assert!(two.contains(">down<") && two.contains(">up<"));
        for svg in [one, two] {
            assert!(svg.contains("prefers-color-scheme:dark"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        }
    }

    #[test]
    fn bars_of_two_series_stand_beside_each_other() {
        let series = |name: &str| Series::new(name, vec![(1.0, 10.0), (2.0, 5.0)]);
        let mut chart = chart(Kind::Bars, vec![series("a"), series("b")]);
        (chart.x.unit, chart.y.unit) = (Unit::Count, Unit::Count);
        let svg = alone(&chart);
        let left = |class: &str| -> Vec<f64> {
            svg.split(&format!("<rect class=\"{class}\" x=\""))
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
                .collect()
        };
        let (a, b) = (left("s0"), left("s1"));
        assert!(a[0] < b[0] && b[0] < a[1] && a[1] < b[1], "{a:?} {b:?}");
    }

    #[test]
    fn long_notes_are_wrapped_and_lose_nothing() {
        let note = "  asked    ".to_owned() + &"word ".repeat(60) + &"x".repeat(300);
        let lines = wrapped(&note);
        assert!(lines.iter().all(|line| line.trim().chars().count() <= NOTE_LEN.max(300)));
        assert!(lines.len() > 3 && lines[0].starts_with("  asked    word"));
        let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(joined(&lines.concat()), joined(&note));
        assert_eq!(wrapped(""), [""]);
    }

    #[test]
    fn a_page_leaves_out_charts_without_points() {
        let full = chart(Kind::Line, vec![Series::new("a", vec![(0.0, 1.0), (1.0, 1.0)])]);
        let empty = chart(Kind::Line, vec![Series::new("a", vec![(f64::NAN, 1.0)])]);
        let page = |charts| Page { title: "t".to_owned(), notes: vec!["n".to_owned()], charts };
        assert_eq!(svg(&page(vec![full.clone(), empty.clone()])), svg(&page(vec![full])));
        assert!(!svg(&page(vec![empty])).contains("<line"));
    }
}
