//! A preview as an SVG picture.

use crate::netem::preview::{Preview, bits};
use adit_service::netem::words;
use std::fmt::Write;
use std::time::Duration;

const WIDTH: u32 = 860;
/// Left and right edge of plots.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 830.0;
const PLOT_HEIGHT: u32 = 150;
/// Distance between the tops of two plots.
const PLOT_STEP: u32 = 220;
const BLUE: &str = "#1f6fb2";
const DARK: &str = "#1a1a1a";
const GREY: &str = "#5c5c5c";

/// Draws the previews, one below the other, each under its name.
pub(crate) fn draw(previews: &[(&str, &Preview)]) -> String {
    let mut body = String::new();
    let mut top = 20;
    for (name, preview) in previews {
        top = draw_one(&mut body, name, preview, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" \
         width=\"{WIDTH}\" height=\"{top}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>adit netem preview</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// Draws one preview from `top` on and returns the top of the next one.
fn draw_one(svg: &mut String, name: &str, preview: &Preview, top: u32) -> u32 {
    let asked = preview.report.asked.join("; ");
    let asked = if asked.is_empty() { "a perfect link".to_owned() } else { asked };
    text(svg, 16.0, top + 6, 16, DARK, name);
    text(svg, 16.0, top + 26, 12, GREY, &asked);
    let mut top = top + 70;
    let ms = |ms: f64| words::time(Duration::from_secs_f64(ms / 1e3));
    let delay: Vec<_> = preview.delay.iter().map(|point| (point.delay_ms, point.share)).collect();
    if let (Some(first), Some(last)) = (delay.first(), delay.last())
        && last.0 > first.0
    {
        let ends = (ms(first.0), ms(last.0));
        let title = "cumulative share of packets by delay";
        curve(svg, top, title, &delay, 1.0, &words::share(1.0), &ends);
        top += PLOT_STEP;
    }
    if !preview.bursts.is_empty() {
        bursts(svg, top, preview);
        top += PLOT_STEP;
    }
    let rate: Vec<_> =
        preview.rate.iter().map(|point| (point.seconds, point.bits_per_second)).collect();
    let most = rate.iter().map(|point| point.1).fold(0.0, f64::max);
    if let (Some(last), true) = (rate.last(), most > 0.0) {
        let ends = ("0 s".to_owned(), words::time(Duration::from_secs_f64(last.0)));
        curve(svg, top, "output of a saturated line", &rate, most, &bits(most), &ends);
        top += PLOT_STEP;
    }
    // The rest of the report is text.
    for line in crate::show::link::lines(&preview.report, name).iter().skip(1) {
        text(svg, 16.0, top - 30, 11, GREY, line.trim());
        top += 16;
    }
    top + 10
}

/// A line through points in order of x, with its frame; `ends` are the names of the ends of x.
fn curve(
    svg: &mut String,
    top: u32,
    title: &str,
    points: &[(f64, f64)],
    most: f64,
    most_name: &str,
    ends: &(String, String),
) {
    frame(svg, top, title, most_name);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let width = (last.0 - first.0).max(f64::MIN_POSITIVE);
    let bottom = f64::from(top + PLOT_HEIGHT);
    let mut path = String::new();
    for (x, y) in points {
        let x = LEFT + (x - first.0) / width * (RIGHT - LEFT);
        let y = bottom - (y / most).clamp(0.0, 1.0) * f64::from(PLOT_HEIGHT);
        // Writing to a String cannot fail.
        let _ = write!(path, "{x:.1},{y:.1} ");
    }
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{BLUE}\" stroke-width=\"1.5\"/>",
        path.trim_end()
    );
    text(svg, LEFT, top + PLOT_HEIGHT + 16, 11, GREY, &ends.0);
    text(svg, RIGHT - 50.0, top + PLOT_HEIGHT + 16, 11, GREY, &ends.1);
}

fn bursts(svg: &mut String, top: u32, preview: &Preview) {
    let most = preview.bursts.iter().map(|burst| burst.count).max().unwrap_or(1);
    frame(svg, top, "number of loss bursts by length in packets", &most.to_string());
    let longest = preview.bursts.iter().map(|burst| burst.length).max().unwrap_or(1);
    let step = (RIGHT - LEFT) / f64::from(longest.max(10));
    for burst in &preview.bursts {
        let height = f64::from(burst.count) / f64::from(most) * f64::from(PLOT_HEIGHT);
        let x = LEFT + step * (f64::from(burst.length) - 0.9);
        let y = f64::from(top + PLOT_HEIGHT) - height;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{BLUE}\"/>",
            step * 0.8
        );
        text(svg, x, top + PLOT_HEIGHT + 16, 11, GREY, &burst.length.to_string());
    }
}

/// Draws the frame of a plot with its title, zero and highest value.
fn frame(svg: &mut String, top: u32, title: &str, most: &str) {
    text(svg, LEFT, top - 10, 13, DARK, title);
    for (y, name) in [(top, most), (top + PLOT_HEIGHT, "0")] {
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT:.1}\" y1=\"{y}\" x2=\"{RIGHT:.1}\" y2=\"{y}\" stroke=\"#d9d9d9\"/>"
        );
        text(svg, 16.0, y + 4, 11, GREY, name);
    }
}

fn text(svg: &mut String, x: f64, y: u32, size: u32, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::preview::simulate;
    use adit_engine::netem::{Preset, Profile};

    #[test]
    fn each_plot_is_there_and_the_picture_is_closed() {
        let preset = Preset::named("wifi-bad").expect("a preset");
        let (down, up) = (simulate(&preset.down, 1), simulate(&preset.up, 2));
        let (down, up) = (down.expect("it can be"), up.expect("it can be"));
        let svg = draw(&[("a < b & c", &down), ("up", &up)]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let plain = simulate(&Profile::default(), 1).expect("it can be");
        assert!(draw(&[("perfect", &plain)]).contains("a perfect link"));
    }
}
