//! Charts as one HTML file, with the numbers as tables; it loads nothing from elsewhere.

use crate::chart::{Chart, Page};
use crate::svg::{alone, escaped};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark}@media (prefers-color-scheme:dark){body{background:#12171e}}body{font:14px/1.5 'DejaVu Sans','Noto Sans',sans-serif;margin:2rem auto;\
max-width:800px;padding:0 1rem}pre{white-space:pre-wrap}figure{margin:0;overflow-x:auto}svg{width:100%;min-width:36rem;height:auto}\
table{border-collapse:collapse}th,td{text-align:right;padding:.1rem .8rem;border-bottom:1px solid #8884}\
summary{cursor:pointer}";

/// The page as a single file of HTML: the charts, and below each its numbers.
#[must_use]
pub fn html(page: &Page) -> String {
    let title = escaped(&page.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    if !page.notes.is_empty() {
        put(&mut html, format_args!("<pre>{}</pre>\n", escaped_lines(&page.notes)));
    }
    for chart in page.charts.iter().filter(|chart| !chart.is_empty()) {
        // A narrow screen scrolls a chart sideways: its labels would be too small.
        put(&mut html, format_args!("<figure tabindex=\"0\">{}</figure>\n", alone(chart)));
        numbers(&mut html, chart);
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn escaped_lines(lines: &[String]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}

fn numbers(html: &mut String, chart: &Chart) {
    put(
        html,
        format_args!(
            "<details><summary>Numbers of {}</summary>\n<table>\n<tr><th></th><th>{}</th><th>{}</th></tr>\n",
            escaped(&chart.title),
            escaped(&chart.x.name),
            escaped(&chart.y.name)
        ),
    );
    for series in &chart.series {
        let name = escaped(&series.name);
        for (x, y) in series.drawn() {
            put(
                html,
                format_args!(
                    "<tr><th>{name}</th><td>{}</td><td>{y}</td></tr>\n",
                    escaped(&chart.x.name_of(x))
                ),
            );
        }
    }
    html.push_str("</table></details>\n");
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    html.write_fmt(what).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Kind, Series, Unit};

    #[test]
    fn a_page_is_one_file_with_its_numbers_and_no_foreign_code() {
        let chart = Chart {
            title: "Throughput".to_owned(),
            x: Axis::new("Time", Unit::Seconds),
            y: Axis::new("Rate", Unit::BitsPerSecond),
            kind: Kind::Line,
            series: vec![Series::new("<script>", vec![(0.0, 1000.0), (1.5, 2000.0)])],
        };
        let notes = vec!["a & b".to_owned()];
        let html = html(&Page { title: "x\"y".to_owned(), notes, charts: vec![chart] });
        assert!(html.contains("<td>1.5</td><td>2000</td>") && html.contains("a &amp; b"));
        assert!(!html.contains("<script") && html.contains("x&quot;y"));
        assert!(!html.replace("http://www.w3.org/2000/svg", "").contains("http://"));
        assert!(html.ends_with("</html>\n"));
    }
}
