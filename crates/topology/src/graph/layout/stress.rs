//! Stress majorization (Gansner, Koren, North 2004): distances on paper resemble those in links.

use super::paper::{Network, Point, distances, float};

/// The wanted length of a link, in spacings.
const LINK_LEN: f64 = 1.25;

/// What all rounds may cost: pairs of nodes times rounds.
const WORK_MAX: usize = 40_000_000;

/// Places; the start is a spiral in the order of a walk, so that the result is always the same.
pub(super) fn place(network: &Network) -> Vec<Point> {
    let count = network.neighbours.len();
    let unit = network.spacing * LINK_LEN;
    let far: Vec<Vec<Option<usize>>> =
        (0..count).map(|node| distances(&network.neighbours, node)).collect();
    let longest = far.iter().flatten().flatten().copied().max().unwrap_or(0);
    // Parts without a path between them stay a little apart.
    let wanted = |a: usize, b: usize| far[a][b].map_or(float(longest) / 2.0 + 1.5, float);
    let mut places = start(&far, float(longest).max(1.0));
    let rounds = (WORK_MAX / (count * count).max(1)).clamp(8, 300);
    for _ in 0..rounds {
        for node in 0..count {
            let (mut x, mut y, mut sum) = (0.0, 0.0, 0.0);
            let here = places[node];
            for (other, &there) in places.iter().enumerate() {
                if other == node {
                    continue;
                }
                let want = wanted(node, other);
                let weight = 1.0 / (want * want);
                let (dx, dy) = (here.0 - there.0, here.1 - there.1);
                let length = dx.hypot(dy).max(1e-6);
                x += weight * (there.0 + want * dx / length);
                y += weight * (there.1 + want * dy / length);
                sum += weight;
            }
            if sum > 0.0 {
                places[node] = (x / sum, y / sum);
            }
        }
    }
    upright(&mut places);
    places.into_iter().map(|(x, y)| (x * unit, y * unit)).collect()
}

/// Each node on a ring around the middle of the network, in the order of the nodes that lead to it.
fn start(far: &[Vec<Option<usize>>], longest: f64) -> Vec<Point> {
    let reach =
        |node: &Vec<Option<usize>>| node.iter().map(|far| far.unwrap_or(1 << 16)).sum::<usize>();
    let middle = (0..far.len()).min_by_key(|&node| (reach(&far[node]), node)).unwrap_or(0);
    let count = float(far.len().max(1));
    // Two far nodes give each node a direction.
    let corner = (0..far.len()).max_by_key(|&node| far[middle][node].unwrap_or(0)).unwrap_or(0);
    let mut order: Vec<usize> = (0..far.len()).collect();
    order.sort_by_key(|&node| (far[corner][node].unwrap_or(0), node));
    let mut places = vec![(0.0, 0.0); far.len()];
    for (at, &node) in order.iter().enumerate() {
        let angle = std::f64::consts::TAU * float(at) / count;
        let radius = far[middle][node].map_or(longest, float) + 0.1;
        places[node] = (radius * angle.cos(), radius * angle.sin());
    }
    places
}

/// Turns the picture so that its longest extent is horizontal: screens are wide.
fn upright(places: &mut [Point]) {
    let count = float(places.len().max(1));
    let mean_x = places.iter().map(|place| place.0).sum::<f64>() / count;
    let mean_y = places.iter().map(|place| place.1).sum::<f64>() / count;
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in places.iter() {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    let angle = (2.0 * xy).atan2(xx - yy) / 2.0;
    let (sin, cos) = angle.sin_cos();
    for place in places.iter_mut() {
        let (dx, dy) = (place.0 - mean_x, place.1 - mean_y);
        *place = (dx * cos + dy * sin, dy * cos - dx * sin);
    }
}
