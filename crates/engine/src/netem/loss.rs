//! Which packets are lost.

use super::profile::{GilbertElliott, Loss};
use super::random::{Chance, Effect, Seed, Stream};

/// What decides which packets are lost.
#[derive(Debug)]
pub(super) struct Losses {
    loss: Loss,
    model: Model,
    random: Stream,
    states: Stream,
}

#[derive(Debug)]
enum Model {
    None,
    Random(Chance),
    States(States),
    /// The next packet of the pattern.
    Pattern(usize),
}

#[derive(Debug)]
struct States {
    to_bad: Chance,
    to_good: Chance,
    loss_bad: Chance,
    loss_good: Chance,
    /// The share of time in the bad state: that of a first packet.
    bad_share: Chance,
    /// `None` before the first packet.
    bad: Option<bool>,
}

impl Losses {
    pub(super) fn new(loss: &Loss, seed: Seed) -> Self {
        Self {
            loss: loss.clone(),
            model: Model::new(loss),
            random: seed.stream(Effect::Loss),
            states: seed.stream(Effect::LossState),
        }
    }

    /// Takes another model; the same one goes on where it is.
    pub(super) fn set(&mut self, loss: &Loss) {
        if *loss != self.loss {
            self.loss = loss.clone();
            self.model = Model::new(loss);
        }
    }

    /// Whether the next packet is lost; `instead` is a share that holds in place of the model.
    pub(super) fn next(&mut self, instead: Option<f64>) -> bool {
        if let Some(share) = instead {
            return self.random.happens(Chance::new(share));
        }
        match &mut self.model {
            Model::None => false,
            Model::Random(chance) => self.random.happens(*chance),
            Model::States(states) => {
                let bad = states.next(&mut self.states);
                self.random.happens(if bad { states.loss_bad } else { states.loss_good })
            }
            Model::Pattern(next) => {
                let Loss::Pattern(pattern) = &self.loss else { return false };
                let lost = pattern.is_lost(*next);
                *next = (*next + 1) % pattern.len();
                lost
            }
        }
    }
}

impl Model {
    fn new(loss: &Loss) -> Self {
        match loss {
            Loss::None => Self::None,
            Loss::Random { share } => Self::Random(Chance::new(*share)),
            Loss::Pattern(_) => Self::Pattern(0),
            Loss::Bursts { .. } | Loss::GilbertElliott(_) => {
                loss.states().map_or(Self::None, |model| Self::States(States::new(model)))
            }
        }
    }
}

impl States {
    fn new(model: GilbertElliott) -> Self {
        Self {
            to_bad: Chance::new(model.to_bad),
            to_good: Chance::new(model.to_good),
            loss_bad: Chance::new(model.loss_bad),
            loss_good: Chance::new(model.loss_good),
            bad_share: Chance::new(model.bad_share()),
            bad: None,
        }
    }

    fn next(&mut self, random: &mut Stream) -> bool {
        let bad = match self.bad {
            None => random.happens(self.bad_share),
            Some(false) => random.happens(self.to_bad),
            Some(true) => !random.happens(self.to_good),
        };
        self.bad = Some(bad);
        bad
    }
}

impl Loss {
    /// The two states of a model that has them.
    fn states(&self) -> Option<GilbertElliott> {
        match *self {
            Self::GilbertElliott(model) => Some(model),
            Self::Bursts { share, .. } if share >= 1.0 => {
                Some(GilbertElliott { to_bad: 1.0, to_good: 0.0, loss_bad: 1.0, loss_good: 0.0 })
            }
            // A burst ends with probability 1 / length after each packet, so it has that mean.
            Self::Bursts { share, length } => Some(GilbertElliott {
                to_bad: share / (length * (1.0 - share)),
                to_good: 1.0 / length,
                loss_bad: 1.0,
                loss_good: 0.0,
            }),
            _ => None,
        }
    }

    /// The share of packets that are lost in the long run.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "numbers of packets below 2^22")]
    pub fn share(&self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random { share } | Self::Bursts { share, .. } => *share,
            Self::Pattern(pattern) => pattern.lost() as f64 / pattern.len() as f64,
            Self::GilbertElliott(model) => model.share(),
        }
    }

    /// How many times larger than that of independent losses the variance of their number is, for
    /// many packets: 1 and the sum of the correlations between packets.
    pub(super) fn inflation(&self) -> f64 {
        let Some(model) = self.states() else { return 1.0 };
        let (bad, share) = (model.bad_share(), model.share());
        let memory = 1.0 - model.to_bad - model.to_good;
        let difference = model.loss_bad - model.loss_good;
        let covariance = difference * difference * bad * (1.0 - bad);
        let inflation = 1.0 + 2.0 * covariance * memory / ((1.0 - memory) * share * (1.0 - share));
        // Never lost, always lost, or a state for ever.
        if inflation.is_finite() { inflation.max(1.0) } else { 1.0 }
    }
}

impl GilbertElliott {
    /// The share of packets that are lost in the long run.
    #[must_use]
    pub fn share(&self) -> f64 {
        let bad = self.bad_share();
        bad * self.loss_bad + (1.0 - bad) * self.loss_good
    }

    /// The share of time in the bad state; in the good one for ever if no state is ever left.
    fn bad_share(&self) -> f64 {
        let leave = self.to_bad + self.to_good;
        if leave > 0.0 { self.to_bad / leave } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::{Estimate, LossPattern};
    use alloc::sync::Arc;
    use std::vec::Vec;

    const PACKETS: u64 = 400_000;

    fn draw(loss: &Loss) -> Vec<bool> {
        let mut losses = Losses::new(loss, Seed::new(7));
        (0..PACKETS).map(|_| losses.next(None)).collect()
    }

    fn check_share(loss: &Loss) -> Vec<bool> {
        let drawn = draw(loss);
        let lost = u64::try_from(drawn.iter().filter(|&&lost| lost).count()).unwrap();
        let estimate = Estimate::new(lost, PACKETS, loss.inflation()).unwrap();
        assert!(estimate.contains(loss.share()), "{loss:?}: {estimate:?}");
        drawn
    }

    /// The lengths of runs of lost packets.
    fn bursts(drawn: &[bool]) -> Vec<usize> {
        drawn.split(|&lost| !lost).map(<[bool]>::len).filter(|&len| len > 0).collect()
    }

    fn mean(lengths: &[usize]) -> f64 {
        let sum = u32::try_from(lengths.iter().sum::<usize>()).unwrap();
        f64::from(sum) / f64::from(u32::try_from(lengths.len()).unwrap())
    }

    #[test]
    fn independent_losses_are_alone() {
        let drawn = check_share(&Loss::Random { share: 0.01 });
        assert!((mean(&bursts(&drawn)) - 1.0 / 0.99).abs() < 0.01);
        assert!(draw(&Loss::Random { share: 1.0 }).iter().all(|&lost| lost));
        assert!(!draw(&Loss::None).contains(&true));
    }

    #[test]
    fn one_percent_in_bursts_of_five() {
        let drawn = check_share(&Loss::Bursts { share: 0.01, length: 5.0 });
        let bursts = bursts(&drawn);
        // About 800 bursts with a deviation of 4.5: five times that of their mean.
        assert!((mean(&bursts) - 5.0).abs() < 0.8, "{}", mean(&bursts));
        // Geometric: a fifth of one packet only, a third of more than five.
        let share = |count: usize| {
            f64::from(u32::try_from(count).unwrap())
                / f64::from(u32::try_from(bursts.len()).unwrap())
        };
        let single = share(bursts.iter().filter(|&&len| len == 1).count());
        let long = share(bursts.iter().filter(|&&len| len > 5).count());
        assert!((single - 0.2).abs() < 0.07 && (long - 0.328).abs() < 0.08, "{single} {long}");
        assert!(draw(&Loss::Bursts { share: 1.0, length: 5.0 }).iter().all(|&lost| lost));
        assert!(!draw(&Loss::Bursts { share: 0.0, length: 5.0 }).contains(&true));
    }

    #[test]
    fn gilbert_and_elliott_in_the_long_run() {
        for (to_bad, to_good, loss_bad, loss_good) in [
            (0.01, 0.3, 1.0, 0.0),
            (0.02, 0.1, 0.5, 0.01),
            (0.5, 0.5, 0.2, 0.0),
            (0.9, 0.8, 1.0, 0.0),
        ] {
            let model = GilbertElliott { to_bad, to_good, loss_bad, loss_good };
            check_share(&Loss::GilbertElliott(model));
        }
        let stuck = GilbertElliott { to_bad: 0.0, to_good: 0.0, loss_bad: 1.0, loss_good: 0.0 };
        assert!(!draw(&Loss::GilbertElliott(stuck)).contains(&true));
        assert!((Loss::GilbertElliott(stuck).inflation() - 1.0).abs() < f64::EPSILON);
    }

    /// With no memory the variance is that of independent losses; with bursts of mean length L it is
    /// about 2 L - 1 times as large.
    #[test]
    fn the_variance_of_bursts() {
        let bursts = Loss::Bursts { share: 0.001, length: 5.0 };
        assert!((bursts.inflation() - 9.0).abs() < 0.1, "{}", bursts.inflation());
        let none = GilbertElliott { to_bad: 0.5, to_good: 0.5, loss_bad: 0.2, loss_good: 0.0 };
        assert!((Loss::GilbertElliott(none).inflation() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_pattern_repeats() {
        let pattern = Loss::Pattern(Arc::new(LossPattern::parse("..x.").unwrap()));
        let drawn = check_share(&pattern);
        assert!(drawn.iter().enumerate().all(|(at, &lost)| lost == (at % 4 == 2)));
    }

    #[test]
    fn a_share_in_place_of_the_model() {
        let mut losses = Losses::new(&Loss::Random { share: 0.0 }, Seed::new(1));
        assert!((0..100).all(|_| losses.next(Some(1.0))));
        assert!(!losses.next(None));
    }
}
