//! The report as a picture: a bar for each mover of each case, relative to the ceiling.

use crate::report::{Figures, Report, Row, Spread};
use std::fmt::Write;

const WIDTH: u32 = 860;
/// Where the bars start, how long one of ratio 1 is, and where the figures start.
const LEFT: f64 = 130.0;
const UNIT: f64 = 420.0;
const RIGHT: f64 = 640.0;
/// A longer bar would run into the figures.
const RATIO_MAX: f64 = 1.18;
const TOP: u32 = 84;
const CASE_HEIGHT: u32 = 48;
const BAR_HEIGHT: u32 = 15;

/// The report as SVG. Bars are the ratio to the median of the plain loop, so that cases of every
/// speed can be seen beside each other; the line across a bar's end is lowest to highest.
pub(crate) fn draw(report: &Report) -> String {
    let cases: Vec<&[Row]> = report.results.chunks(2).collect();
    let count = u32::try_from(cases.len()).unwrap_or_default();
    let bottom = TOP + count * CASE_HEIGHT;
    let height = bottom + 34;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>adit bench</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 16.0, 26, "16", "#1a1a1a", "Packets per second, relative to a plain loop");
    let about = format!(
        "Linux {}, {} cores, {} rounds of {} s; line: lowest to highest",
        report.kernel, report.cores, report.rounds, report.seconds
    );
    text(&mut svg, 16.0, 46, "12", "#5c5c5c", &about);
    for (at, name) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
        let x = LEFT + at * UNIT;
        line(&mut svg, (x, TOP - 8), (x, bottom), "#d9d9d9");
        text(&mut svg, x - 3.0, TOP - 14, "11", "#5c5c5c", name);
    }
    for (rows, top) in cases.into_iter().zip((TOP..).step_by(48)) {
        draw_case(&mut svg, rows, top);
    }
    text(&mut svg, LEFT, bottom + 20, "12", "#7a8794", "\u{25a0} plain loop");
    text(&mut svg, LEFT + 90.0, bottom + 20, "12", "#1f6fb2", "\u{25a0} adit");
    svg.push_str("</svg>\n");
    svg
}

fn draw_case(svg: &mut String, rows: &[Row], top: u32) {
    let Some(first) = rows.first() else { return };
    text(svg, 16.0, top + 19, "12", "#1a1a1a", &first.case);
    let ceiling = first.figures.as_ref().map(|figures| figures.packets_per_second.median);
    for ((row, colour), y) in rows.iter().zip(["#aab4be", "#1f6fb2"]).zip((top..).step_by(17)) {
        match (&row.figures, ceiling) {
            (Some(figures), Some(ceiling)) => draw_bar(svg, figures, ceiling, colour, y),
            _ => {
                let why = row.missing.as_deref().unwrap_or("nothing to compare with");
                let note = format!("{} not measured: {why}", row.mover);
                text(svg, LEFT + 4.0, y + 12, "11", "#8a1f11", &note);
            }
        }
    }
}

fn draw_bar(svg: &mut String, figures: &Figures, ceiling: f64, colour: &str, y: u32) {
    let Spread { median, lowest, highest } = figures.packets_per_second;
    let long = |rate: f64| (rate / ceiling).clamp(0.0, RATIO_MAX) * UNIT;
    let width = long(median);
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>"
    );
    let middle = y + BAR_HEIGHT / 2;
    let (low, high) = (LEFT + long(lowest), LEFT + long(highest));
    line(svg, (low, middle), (high, middle), "#1a1a1a");
    for x in [low, high] {
        line(svg, (x, middle - 3), (x, middle + 3), "#1a1a1a");
    }
    let figure =
        format!("{:.3} M/s  {:.2} Gbit/s", median / 1e6, figures.gigabits_per_second.median);
    text(svg, RIGHT, y + 12, "11", "#1a1a1a", &figure);
}

fn line(svg: &mut String, from: (f64, u32), to: (f64, u32), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{}\" x2=\"{:.1}\" y2=\"{}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: u32, size: &str, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\">{words}</text>"
    );
}
