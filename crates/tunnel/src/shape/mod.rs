//! Rate limits of a peer, in each direction.

pub(crate) mod shaper;
pub(crate) mod waiting;

use adit_packet::Instant;

use crate::shape::shaper::{Shape, Shaper};

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// The shapers of both directions of a peer.
#[derive(Debug, Default)]
pub(crate) struct Shapers {
    /// To the peer.
    out: Option<Shaper>,
    /// From the peer.
    inward: Option<Shaper>,
}

impl Shapers {
    /// The rate after shaping was disabled, until the queue is empty.
    const OPEN: Shape = Shape { bits_per_second: u64::MAX, burst: u32::MAX };

    /// Sets both rates.
    pub(crate) fn set(
        &mut self,
        out: Option<Shape>,
        inward: Option<Shape>,
        mut new_key: impl FnMut() -> u64,
    ) {
        for (shaper, shape) in [(&mut self.out, out), (&mut self.inward, inward)] {
            match (shaper, shape) {
                (Some(shaper), shape) => shaper.set(shape.unwrap_or(Self::OPEN)),
                (none, Some(shape)) => {
                    *none = Some(Shaper::new(shape, new_key()));
                }
                (None, None) => {}
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let both = [&self.out, &self.inward].into_iter().flatten();
        both.filter_map(Shaper::next_timeout).min()
    }

    /// The number of packets that wait.
    pub(crate) fn len(&self) -> usize {
        [&self.out, &self.inward].into_iter().flatten().map(Shaper::len).sum()
    }

    pub(crate) fn of(&mut self, way: Way) -> Option<&mut Shaper> {
        match way {
            Way::Out => self.out.as_mut(),
            Way::In => self.inward.as_mut(),
        }
    }
}
