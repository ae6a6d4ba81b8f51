//! Previews as charts.

use crate::netem::preview::Preview;
use crate::show::link;
use adit_chart::{Axis, Chart, Kind, Page, Series, Unit};

/// The charts of previews, each with a line for each preview, and their reports.
pub(crate) fn page(previews: &[(&str, &Preview)]) -> Page {
    let series = |points: fn(&Preview) -> Vec<(f64, f64)>| {
        let one = |(name, preview): &(&str, &Preview)| Series::new(*name, points(preview));
        // Neither a legend nor an empty plot for a direction without points.
        previews.iter().map(one).filter(|series| !series.points.is_empty()).collect()
    };
    let delay = Chart {
        title: "Delay CDF".to_owned(),
        x: Axis::new("Delay", Unit::Seconds),
        y: Axis::new("Packets", Unit::Share),
        kind: Kind::Line,
        series: series(|preview| {
            preview.delay.iter().map(|point| (point.delay_ms / 1e3, point.share)).collect()
        }),
    };
    let bursts = Chart {
        title: "Loss bursts".to_owned(),
        x: Axis::new("Packets lost in a row, 20 and more as 20", Unit::Count),
        y: Axis::new("Bursts", Unit::Count),
        kind: Kind::Bars,
        series: series(|preview| {
            let burst = |burst: &super::preview::Burst| (burst.length.into(), burst.count.into());
            preview.bursts.iter().map(burst).collect()
        }),
    };
    let rate = Chart {
        title: "Throughput".to_owned(),
        x: Axis::new("Time", Unit::Seconds),
        y: Axis::new("Rate when saturated", Unit::BitsPerSecond),
        kind: Kind::Line,
        series: series(|preview| {
            preview.rate.iter().map(|point| (point.seconds, point.bits_per_second)).collect()
        }),
    };
    let notes = previews.iter().flat_map(|(name, preview)| link::lines(&preview.report, name));
    Page {
        title: "adit netem preview".to_owned(),
        notes: notes.collect(),
        charts: vec![delay, bursts, rate],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::preview::simulate;
    use crate::pictures::lines;
    use adit_chart::Charset;
    use adit_engine::netem::{Bitrate, Delay, Loss, Preset, Profile, Rate, Steps};
    use std::sync::Arc;

    fn drawn(profile: &Profile, charset: Charset) -> Vec<String> {
        let preview = simulate(profile, 1).expect("it can be");
        lines(&page(&[("x", &preview)]), 80, charset)
    }

    #[test]
    fn every_preset_is_drawn_for_a_terminal_of_80_characters() {
        for name in Preset::NAMES {
            let preset = Preset::named(name).expect("a preset");
            for charset in [Charset::Unicode, Charset::Ascii] {
                let lines = drawn(&preset.down, charset);
                for title in ["Delay CDF", "Throughput"] {
                    assert!(lines.iter().any(|line| line == title), "{lines:#?}");
                }
                let mut charts = lines.iter().skip_while(|line| !line.is_empty());
                assert!(charts.clone().all(|line| line.chars().count() <= 80), "{lines:#?}");
                let ascii = charts.all(|line| line.is_ascii());
                assert_eq!(ascii, charset == Charset::Ascii, "{lines:#?}");
            }
        }
    }

    #[test]
    fn two_directions_share_each_chart() {
        let preset = Preset::named("wifi-bad").expect("a preset");
        let [down, up] = [&preset.down, &preset.up].map(|way| simulate(way, 1).expect("it can be"));
        let svg = adit_chart::svg(&page(&[("a to b", &down), ("b to a", &up)]));
        for title in ["Delay CDF", "Loss bursts", "Throughput"] {
            assert_eq!(svg.matches(&format!(">{title}</text>")).count(), 1, "{title}");
        }
        // Two lines in two charts, and two samples in the legend of each chart.
        assert_eq!(svg.matches("<polyline").count(), 2 * 2 + 3 * 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_link_that_gives_nothing_or_everything_is_shown_as_such() {
        let plain = drawn(&Profile::default(), Charset::Ascii);
        assert_eq!(plain[0], "x: a perfect link");
        assert!(!plain.iter().any(|line| line == "Throughput" || line == "Loss bursts"));
        for share in [0.999, 1.0] {
            let profile = Profile { loss: Loss::Random { share }, ..Profile::default() };
            let lines = drawn(&profile, Charset::Ascii);
            assert!(lines.iter().any(|line| line == "Loss bursts"), "{lines:#?}");
        }
        let steps = Steps::parse("time,rate\n0,0\n").expect("steps");
        let stopped = Profile { steps: Some(Arc::new(steps)), ..Profile::default() };
        assert!(drawn(&stopped, Charset::Unicode).iter().any(|line| line == "Throughput"));
        // The time of the line alone: nanoseconds.
        let rate = Rate::Fixed(Bitrate::from_bits_per_second(1_000_000_000_000));
        let fast = Profile { rate, delay: Delay::default(), ..Profile::default() };
        assert!(drawn(&fast, Charset::Ascii).iter().any(|line| line.trim() == "Delay (ns)"));
    }
}
