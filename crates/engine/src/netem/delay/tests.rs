use super::*;
use crate::netem::DelayTable;
use alloc::sync::Arc;
use std::vec::Vec;

const PACKETS: usize = 50_000;
const MS: f64 = 1e6;

fn draw(jitter: Jitter, correlation: f64) -> Vec<f64> {
    let mut draws = Draws::new(Seed::new(5));
    let delay = Delay { jitter, correlation, ..Delay::default() };
    #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
    (0..PACKETS).map(|_| draws.next(&delay) as f64).collect()
}

/// The largest difference between the share of values below each value and what it should be
/// (Kolmogorov and Smirnov), times the root of their number: above 1.95 in one of a thousand.
#[expect(clippy::cast_precision_loss, reason = "50,000 values")]
fn distance(mut values: Vec<f64>, share: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let steps = values.iter().enumerate().map(|(index, &value)| {
        let expected = share(value);
        (expected - index as f64 / count).abs().max(((index + 1) as f64 / count - expected).abs())
    });
    steps.fold(0.0, f64::max) * count.sqrt()
}

/// Of each packet with the one before.
fn correlation(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "50,000 values")]
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let product = |lag: usize| -> f64 {
        values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(1) / product(0)
}

fn pareto_share(mean: f64, shape: f64) -> impl Fn(f64) -> f64 {
    move |x| 1.0 - (1.0 + x / (mean * (shape - 1.0))).powf(-shape)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_normal_quantile_is_the_inverse_of_the_share() {
    for exponent in 1..=15 {
        for p in [10_f64.powi(-exponent), 1.0 - 10_f64.powi(-exponent), 0.3, 0.5, 0.075, 0.925] {
            let again = normal_share(normal_quantile(p));
            assert!((again - p).abs() <= 1e-12 * p.max(1e-3), "{p}: {again}");
        }
    }
    // Tabulated in every book.
    assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
    assert!((normal_quantile(1e-10) + 6.361_340_902_404_056).abs() < 1e-12);
}

#[test]
fn each_distribution_is_what_it_says() {
    let uniform = draw(Jitter::Uniform { width: ms(5) }, 0.0);
    assert!(distance(uniform, |x| f64::midpoint(x / (5.0 * MS), 1.0)) < 1.95);
    let normal = draw(Jitter::Normal { deviation: ms(2) }, 0.0);
    assert!(distance(normal, |x| normal_share(x / (2.0 * MS))) < 1.95);
    let pareto = draw(Jitter::Pareto { mean: ms(3), shape: 2.5 }, 0.0);
    assert!(pareto.iter().all(|&x| x >= 0.0));
    assert!(distance(pareto, pareto_share(3.0 * MS, 2.5)) < 1.95);
    let table = Arc::new(DelayTable::new([ms(0), ms(10), ms(40)]).unwrap());
    let drawn = draw(Jitter::Table(table), 0.0);
    let share = |x: f64| if x < 10.0 * MS { x / (20.0 * MS) } else { 0.5 + (x / MS - 10.0) / 60.0 };
    assert!(distance(drawn, share) < 1.95);
}

/// The copula's promise: whatever the correlation, the distribution is the same. Packets that tell
/// less of it by being alike make the bound wider: by the root of (1 + r) / (1 - r) for each.
#[test]
fn correlation_keeps_the_distribution() {
    for rho in [0.25, 0.5, 0.9] {
        let bound = 1.95 * f64::sqrt((1.0 + rho) / (1.0 - rho));
        let uniform = draw(Jitter::Uniform { width: ms(5) }, rho);
        let found = correlation(&uniform);
        // Spearman's correlation of a Gaussian copula.
        let expected = 6.0 / core::f64::consts::PI * (rho / 2.0).asin();
        assert!((found - expected).abs() < 0.03, "{rho}: {found} {expected}");
        assert!(distance(uniform, |x| f64::midpoint(x / (5.0 * MS), 1.0)) < bound, "{rho}");
        let normal = draw(Jitter::Normal { deviation: ms(2) }, rho);
        assert!((correlation(&normal) - rho).abs() < 0.03, "{rho}");
        assert!(distance(normal, |x| normal_share(x / (2.0 * MS))) < bound, "{rho}");
        let pareto = draw(Jitter::Pareto { mean: ms(3), shape: 2.5 }, rho);
        assert!(distance(pareto, pareto_share(3.0 * MS, 2.5)) < bound, "{rho}");
    }
}

#[test]
fn nothing_is_below_the_least() {
    let table = Arc::new(DelayTable::new([ms(7), ms(9)]).unwrap());
    for jitter in [
        Jitter::None,
        Jitter::Uniform { width: ms(5) },
        Jitter::Pareto { mean: ms(1), shape: 1.01 },
        Jitter::Table(table),
    ] {
        let least = least(&jitter);
        let mut draws = Draws::new(Seed::new(5));
        for correlation in [0.0, 0.99] {
            let delay = Delay { jitter: jitter.clone(), correlation, ..Delay::default() };
            assert!((0..5000).all(|_| draws.next(&delay) >= least), "{jitter:?}");
        }
    }
}
