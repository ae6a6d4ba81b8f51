//! Jitter: a distribution, and how each packet is like the one before.

use core::time::Duration;

use super::profile::{Delay, Jitter};
use super::random::{Effect, Seed, Stream};

/// What draws the jitter of packets.
#[derive(Debug)]
pub(super) struct Draws {
    random: Stream,
    /// The normal variable of the packet before; `None` before the first one.
    before: Option<f64>,
}

impl Draws {
    pub(super) fn new(seed: Seed) -> Self {
        Self { random: seed.stream(Effect::Delay), before: None }
    }

    /// What is added to [`Delay::base`] for the next packet, in nanoseconds.
    pub(super) fn next(&mut self, delay: &Delay) -> i64 {
        if delay.jitter == Jitter::None {
            return 0;
        }
        let unit = self.random.unit();
        if delay.correlation <= 0.0 {
            self.before = None;
            return round(quantile(&delay.jitter, unit));
        }
        // x' = r x + sqrt(1 - r^2) e: normal again, with the same variance.
        let fresh = normal_quantile(unit);
        let rho = delay.correlation;
        let normal =
            self.before.map_or(fresh, |before| rho * before + libm::sqrt(1.0 - rho * rho) * fresh);
        self.before = Some(normal);
        if let Jitter::Normal { deviation } = delay.jitter {
            return round(normal * nanos(deviation));
        }
        round(quantile(&delay.jitter, normal_share(normal)))
    }
}

/// The least that jitter can be, in nanoseconds.
pub(super) fn least(jitter: &Jitter) -> i64 {
    match jitter {
        Jitter::None | Jitter::Pareto { .. } => 0,
        Jitter::Uniform { width } => round(-nanos(*width)),
        Jitter::Normal { .. } => i64::MIN,
        Jitter::Table(table) => round(nanos(table.min())),
    }
}

/// The jitter that a share `unit` of packets is below, in nanoseconds.
fn quantile(jitter: &Jitter, unit: f64) -> f64 {
    match jitter {
        Jitter::None => 0.0,
        Jitter::Uniform { width } => (2.0 * unit - 1.0) * nanos(*width),
        Jitter::Normal { deviation } => normal_quantile(unit) * nanos(*deviation),
        // Lomax: F(x) = 1 - (1 + x / s)^-a with mean s / (a - 1).
        Jitter::Pareto { mean, shape } => {
            nanos(*mean) * (shape - 1.0) * (libm::pow(1.0 - unit, -1.0 / shape) - 1.0)
        }
        Jitter::Table(table) => table.quantile(unit),
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most an hour: below 2^42")]
fn nanos(time: Duration) -> f64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) as f64
}

/// To whole nanoseconds, at most an hour either way.
#[expect(clippy::cast_possible_truncation, reason = "at most an hour: below 2^42")]
fn round(nanos_value: f64) -> i64 {
    let most = nanos(Delay::MAX);
    libm::round(nanos_value.clamp(-most, most)) as i64
}

/// The share of a standard normal variable below `x`.
fn normal_share(x: f64) -> f64 {
    (0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)).min(1.0 - f64::EPSILON / 2.0)
}

/// The value that a share `p` (above 0 and below 1) of a standard normal variable is below, to about
/// 16 digits.
///
/// Source: M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37, 1988.
fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if libm::fabs(q) <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = libm::sqrt(-libm::log(tail));
    let x = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &FAR) };
    if q < 0.0 { -x } else { x }
}

/// Coefficients of a polynomial above and one below, the highest power first.
type Ratio = [[f64; 8]; 2];

fn ratio(r: f64, [above, below]: &Ratio) -> f64 {
    let value = |coefficients: &[f64; 8]| coefficients.iter().fold(0.0, |sum, c| sum * r + c);
    value(above) / value(below)
}

#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const CENTRE: Ratio = [
    [
        2.509_080_928_730_122_672_7e3,
        3.343_057_558_358_812_810_5e4,
        6.726_577_092_700_870_085_3e4,
        4.592_195_393_154_987_145_7e4,
        1.373_169_376_550_946_112_5e4,
        1.971_590_950_306_551_442_7e3,
        1.331_416_678_917_843_774_5e2,
        3.387_132_872_796_366_608,
    ],
    [
        5.226_495_278_852_854_561e3,
        2.872_908_573_572_194_267_4e4,
        3.930_789_580_009_271_061e4,
        2.121_379_430_158_659_586_7e4,
        5.394_196_021_424_751_107_7e3,
        6.871_870_074_920_579_083e2,
        4.231_333_070_160_091_125_2e1,
        1.0,
    ],
];
#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const MIDDLE: Ratio = [
    [
        7.745_450_142_783_414_076_4e-4,
        2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_7e-1,
        1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04,
        5.769_497_221_460_691_405_50,
        4.630_337_846_156_545_295_9,
        1.423_437_110_749_683_577_34,
    ],
    [
        1.050_750_071_644_416_843_24e-9,
        5.475_938_084_995_344_946e-4,
        1.519_866_656_361_645_719_66e-2,
        1.481_039_764_274_800_745_9e-1,
        6.897_673_349_851_000_045_5e-1,
        1.676_384_830_183_803_849_4,
        2.053_191_626_637_758_821_87,
        1.0,
    ],
];
#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const FAR: Ratio = [
    [
        2.010_334_399_292_288_132_65e-7,
        2.711_555_568_743_487_578_15e-5,
        1.242_660_947_388_078_438_6e-3,
        2.653_218_952_657_612_309_3e-2,
        2.965_605_718_285_048_912_3e-1,
        1.784_826_539_917_291_335_8,
        5.463_784_911_164_114_369_9,
        6.657_904_643_501_103_777_2,
    ],
    [
        2.044_263_103_389_939_785_64e-15,
        1.421_511_758_316_445_888_7e-7,
        1.846_318_317_510_054_681_80e-5,
        7.868_691_311_456_132_591e-4,
        1.487_536_129_085_061_485_25e-2,
        1.369_298_809_227_358_053_1e-1,
        5.998_322_065_558_879_376_9e-1,
        1.0,
    ],
];

#[cfg(test)]
mod tests;
