//! What a chart is made of.

/// One chart: one or several lines, or groups of bars, over common axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows, in the words of the trade: "Delay CDF".
    pub title: String,
    /// The axis to the right.
    pub x: Axis,
    /// The axis upwards; it begins at zero.
    pub y: Axis,
    /// How points are drawn.
    pub kind: Kind,
    /// The lines; two and more have a legend.
    pub series: Vec<Series>,
}

/// How the points of a chart are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line through the points, in order of x.
    Line,
    /// A bar from zero to each point, at whole numbers of x.
    Bars,
}

/// Points under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Points (x, y), in order of x.
    pub points: Vec<(f64, f64)>,
}

/// Charts below each other, with a title and lines of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The title of the page.
    pub title: String,
    /// Lines of text below the title.
    pub notes: Vec<String>,
    /// The charts.
    pub charts: Vec<Chart>,
}

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it measures: "Delay". The unit follows in brackets.
    pub name: String,
    /// The unit of its values.
    pub unit: Unit,
    /// Names of the values 1, 2, ...; empty: the values are numbers.
    pub names: Vec<String>,
    /// Values that are on the axis, whether there are points or not: charts of one time have one axis then.
    pub span: Option<(f64, f64)>,
}

/// The unit of an axis' values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, written as ns, us, ms, s, min or h.
    Seconds,
    /// Bits per second, written with an SI prefix.
    BitsPerSecond,
    /// A share of 0 to 1, written in percent.
    Share,
    /// A number of things.
    Count,
}

impl Axis {
    /// An axis of this name and unit.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self { name: name.into(), unit, names: Vec::new(), span: None }
    }

    /// An axis whose values 1, 2, ... have these names, for bars.
    #[must_use]
    pub fn named(name: impl Into<String>, names: Vec<String>) -> Self {
        Self { name: name.into(), unit: Unit::Count, names, span: None }
    }

    /// The axis from one value to another at least.
    #[must_use]
    pub fn over(self, low: f64, high: f64) -> Self {
        Self { span: Some((low, high)), ..self }
    }

    /// What a value is called.
    pub(crate) fn name_of(&self, value: f64) -> String {
        let at = (1u32..).zip(&self.names).find(|(number, _)| f64::from(*number) == value);
        at.map_or_else(|| value.to_string(), |(_, name)| name.clone())
    }
}

impl Series {
    /// A series of these points.
    #[must_use]
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }

    /// The points that can be drawn.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }
}

impl Chart {
    /// True if no point can be drawn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.drawn().next().is_none())
    }
}
