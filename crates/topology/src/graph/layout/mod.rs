//! Where the nodes of a picture are, always the same for the same network.
//!
//! A network of tiers (hosts below switches, switches below routers) is drawn in rows. Any other is drawn so
//! that distances on paper resemble distances in links.

mod paper;
mod rows;
mod stress;

pub(super) use paper::{Network, Point, float};

/// Places for all nodes, from (0, 0), with no margin.
pub(super) fn place(network: &Network) -> Vec<Point> {
    let mut places = rows::place(network).unwrap_or_else(|| stress::place(network));
    let min = |of: fn(&Point) -> f64| places.iter().map(of).fold(f64::INFINITY, f64::min);
    let (left, top) = (min(|place| place.0), min(|place| place.1));
    for place in &mut places {
        *place = (place.0 - left, place.1 - top);
    }
    places
}
