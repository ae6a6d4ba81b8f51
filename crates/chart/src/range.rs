//! The range of an axis, its unit and its ticks.

use crate::chart::{Axis, Chart, Kind, Unit};

/// What one unit of a written number is, by the highest value of the axis.
const TIMES: [(f64, &str); 6] =
    [(3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")];
const RATES: [(f64, &str); 4] = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")];

/// An axis is written in a unit of which its highest value has at least this many.
const UNITS_MIN: f64 = 2.0;

/// The factor and name of the unit in which values up to `most` are written.
fn written(unit: Unit, most: f64) -> (f64, &'static str) {
    let of = |list: &[(f64, &'static str)]| {
        let last = list.last().copied().unwrap_or((1.0, ""));
        list.iter().copied().find(|(factor, _)| most >= factor * UNITS_MIN).unwrap_or(last)
    };
    match unit {
        Unit::Seconds => of(&TIMES),
        Unit::BitsPerSecond => of(&RATES),
        Unit::Share => (0.01, "%"),
        Unit::Count => (1.0, ""),
    }
}

/// An axis with the range of a chart's values, from one round number to another.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    title: String,
    factor: f64,
    low: f64,
    step: f64,
    steps: u32,
}

/// The largest number of ticks of an axis, to bound the work whatever the values are.
const TICKS_MAX: u32 = 20;

impl Range {
    /// The range of x with about `wanted` ticks.
    pub(crate) fn of_x(chart: &Chart, wanted: u32) -> Self {
        let span = chart.x.span.map(|(low, high)| [low, high]);
        let ends = move || span.into_iter().flatten().filter(|value| value.is_finite());
        let values = || {
            let points = chart.series.iter().flat_map(|series| series.drawn().map(|point| point.0));
            points.chain(ends())
        };
        let (mut low, mut high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if chart.kind == Kind::Bars {
            // Half a bar to each side.
            (low, high) = (low.min(1.0) - 1.0, high + 1.0);
        } else if low > 0.0 && low < high / 4.0 {
            low = 0.0;
        }
        Self::new(&chart.x, low, high, wanted)
    }

    /// The range of y, from zero, with about `wanted` ticks.
    pub(crate) fn of_y(chart: &Chart, wanted: u32) -> Self {
        let values = chart.series.iter().flat_map(|series| series.drawn().map(|point| point.1));
        Self::new(&chart.y, 0.0, values.fold(0.0, f64::max), wanted)
    }

    fn new(axis: &Axis, low: f64, high: f64, wanted: u32) -> Self {
        let (factor, suffix) = written(axis.unit, high.abs().max(low.abs()));
        let title = match suffix {
            "" => axis.name.clone(),
            suffix => format!("{} ({suffix})", axis.name),
        };
        let (mut low, mut high) = (low / factor, high / factor);
        if high <= low {
            // A single value: its surroundings.
            let around = if low == 0.0 { 1.0 } else { low.abs() / 10.0 };
            (low, high) = (if low == 0.0 { 0.0 } else { low - around }, high + around);
        }
        let mut step = round_step((high - low) / f64::from(wanted.clamp(1, TICKS_MAX)));
        if axis.unit == Unit::Count {
            step = step.max(1.0);
        }
        let first = (low / step + 1e-9).floor() * step;
        // No step more for what exceeds a tick by less than the width of a line, such as 25.001 s.
        let steps = ((high - first) / step - 0.01).ceil().clamp(1.0, f64::from(TICKS_MAX) * 2.0);
        Self { title, factor, low: first, step, steps: count(steps) }
    }

    /// The name with the unit: "Delay (ms)".
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Where a value is, from 0 at the low end to 1 at the high end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        ((value / self.factor - self.low) / (self.step * f64::from(self.steps))).clamp(0.0, 1.0)
    }

    /// Where the ticks are, and their numbers.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        // As many decimals as the step has.
        let decimals = usize::try_from(count((-self.step.log10() - 1e-9).ceil().max(0.0)));
        let decimals = decimals.unwrap_or(0).min(12);
        (0..=self.steps).map(move |tick| {
            let value = self.low + self.step * f64::from(tick);
            // No minus before a zero.
            let value = if value.abs() < self.step / 2.0 { 0.0 } else { value };
            (f64::from(tick) / f64::from(self.steps), format!("{value:.decimals$}"))
        })
    }

    /// The share of the axis that one unit of its values takes.
    pub(crate) fn unit(&self) -> f64 {
        1.0 / self.factor / (self.step * f64::from(self.steps))
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number of ticks or decimals, never negative; a cast saturates"
)]
fn count(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Series;

    fn numbers(unit: Unit, low: f64, high: f64) -> (String, Vec<String>) {
        let range = Range::new(&Axis::new("A", unit), low, high, 5);
        (range.title().to_owned(), range.ticks().map(|tick| tick.1).collect())
    }

    #[test]
    fn ticks_are_round_and_have_the_units_of_people() {
        for (unit, low, high, title, ticks) in [
            (Unit::Seconds, 0.020, 0.0295, "A (ms)", &["20", "22", "24", "26", "28", "30"][..]),
            (Unit::Seconds, 0.0, 900.0, "A (min)", &["0", "5", "10", "15"]),
            (Unit::Seconds, 0.0, 10.0, "A (s)", &["0", "2", "4", "6", "8", "10"]),
            (Unit::BitsPerSecond, 0.0, 9.7e6, "A (Mbit/s)", &["0", "2", "4", "6", "8", "10"]),
            (Unit::BitsPerSecond, 0.0, 1.1e6, "A (kbit/s)", &["0", "500", "1000", "1500"]),
            (Unit::Share, 0.0, 1.0, "A (%)", &["0", "20", "40", "60", "80", "100"]),
            (Unit::Count, 0.0, 2.0, "A", &["0", "1", "2"]),
            (Unit::Seconds, 2e-5, 2.04e-5, "A (us)", &["20.0", "20.1", "20.2", "20.3", "20.4"]),
            (Unit::Seconds, 0.0, 0.0, "A (ns)", &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ] {
            let (got, numbers) = numbers(unit, low, high);
            assert_eq!((got.as_str(), numbers), (title, ticks.iter().map(|&t| t.into()).collect()));
        }
    }

    #[test]
    fn every_value_has_a_place_and_few_ticks() {
        for high in [f64::MIN_POSITIVE, 1e-300, 1e-9, 3.0, 1e12, 1e300, f64::MAX / 4.0] {
            let points = vec![(0.0, 0.0), (high, high), (f64::NAN, 1.0), (1.0, f64::INFINITY)];
            for kind in [Kind::Line, Kind::Bars] {
                let chart = Chart {
                    title: String::new(),
                    x: Axis::new("x", Unit::Seconds),
                    y: Axis::new("y", Unit::Count),
                    kind,
                    series: vec![Series::new("s", points.clone())],
                };
                for range in [Range::of_x(&chart, 5), Range::of_y(&chart, 5)] {
                    assert!((1..=41).contains(&range.ticks().count()), "{range:?}");
                    assert!((0.0..=1.0).contains(&range.place(high)), "{range:?}");
                    assert!(range.ticks().all(|(place, _)| (0.0..=1.0).contains(&place)));
                }
            }
        }
    }
}
