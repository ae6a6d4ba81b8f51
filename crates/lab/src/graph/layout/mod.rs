//! Where the nodes of a picture are, always the same for the same network.
//!
//! A network of tiers (hosts below switches, switches below routers) is drawn in rows. Any other is drawn so
//! that distances on paper resemble distances in links.

mod rows;
mod stress;

/// A place in pixels.
pub(super) type Point = (f64, f64);

/// A number as a coordinate.
pub(super) fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a layout must know of a network.
#[derive(Debug)]
pub(super) struct Network {
    /// The nodes next to each node, without repetition.
    pub(super) neighbours: Vec<Vec<usize>>,
    /// Whether a node belongs in the lowest row: a host or guest.
    pub(super) is_low: Vec<bool>,
    /// Whether a node belongs in the highest row: a way out.
    pub(super) is_high: Vec<bool>,
    /// How far apart two nodes of a row are.
    pub(super) spacing: f64,
}

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

/// Distances in links from `node`; `None` where no path leads.
fn distances(neighbours: &[Vec<usize>], node: usize) -> Vec<Option<usize>> {
    let mut far = vec![None; neighbours.len()];
    far[node] = Some(0);
    let mut queue = std::collections::VecDeque::from([(node, 0)]);
    while let Some((node, distance)) = queue.pop_front() {
        for &other in &neighbours[node] {
            if far[other].is_none() {
                far[other] = Some(distance + 1);
                queue.push_back((other, distance + 1));
            }
        }
    }
    far
}
