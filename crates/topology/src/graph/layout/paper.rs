//! What a layout gets and returns.

/// A place in pixels.
pub(in crate::graph) type Point = (f64, f64);

/// A number as a coordinate.
pub(in crate::graph) fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a layout must know of a network.
#[derive(Debug)]
pub(in crate::graph) struct Network {
    /// The nodes next to each node, without repetition.
    pub(in crate::graph) neighbours: Vec<Vec<usize>>,
    /// Whether a node belongs in the lowest row: a host or guest.
    pub(in crate::graph) is_low: Vec<bool>,
    /// Whether a node belongs in the highest row: a way out.
    pub(in crate::graph) is_high: Vec<bool>,
    /// How far apart two nodes of a row are.
    pub(in crate::graph) spacing: f64,
}

/// Distances in links from `node`; `None` where no path leads.
pub(super) fn distances(neighbours: &[Vec<usize>], node: usize) -> Vec<Option<usize>> {
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
