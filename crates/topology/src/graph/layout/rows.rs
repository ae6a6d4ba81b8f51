//! Rows: hosts below, ways out above, and each other node as high as it is far from hosts.

use super::paper::{Network, Point, float};

/// The longest row: a picture of two screens.
const ROW_LEN_MAX: usize = 16;

/// The distance of two rows.
const ROW_HEIGHT: f64 = 130.0;

/// How often the order in the rows is improved, downwards and upwards.
const ROUNDS: usize = 8;

/// Places in rows; `None` if a link would pass through a node, or a row would be too long.
pub(super) fn place(network: &Network) -> Option<Vec<Point>> {
    let heights = heights(network)?;
    let top = heights.iter().copied().max()?;
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); top + 1];
    // In the order of a walk through the network, so that neighbours begin near each other.
    for node in walk(network, &heights) {
        rows[heights[node]].push(node);
    }
    if rows.iter().any(|row| row.len() > ROW_LEN_MAX) {
        return None;
    }
    let mut order = vec![0.0; heights.len()];
    number(&rows, &mut order);
    for round in 0..ROUNDS {
        let upwards = round % 2 == 0;
        for at in 0..rows.len() {
            let at = if upwards { at } else { rows.len() - 1 - at };
            sort(&mut rows[at], network, &mut order);
        }
    }
    for row in &rows {
        for (at, node) in row.iter().enumerate() {
            let is_blocked = |other: &usize| {
                let within = row.iter().position(|node| node == other);
                within.is_some_and(|other| other.abs_diff(at) > 1)
            };
            let is_long = |other: &usize| heights[*other].abs_diff(heights[*node]) > 1;
            if network.neighbours[*node].iter().any(|other| is_blocked(other) || is_long(other)) {
                return None;
            }
        }
    }
    Some(spread(&rows, network))
}

/// The row of each node, from below; `None` without hosts.
fn heights(network: &Network) -> Option<Vec<usize>> {
    let mut heights: Vec<Option<usize>> =
        network.is_low.iter().map(|&is_low| is_low.then_some(0)).collect();
    let mut queue: std::collections::VecDeque<usize> =
        (0..heights.len()).filter(|&node| network.is_low[node]).collect();
    while let Some(node) = queue.pop_front() {
        let above = heights[node]? + 1;
        for &other in &network.neighbours[node] {
            if heights[other].is_none() && !network.is_high[other] {
                heights[other] = Some(above);
                queue.push_back(other);
            }
        }
    }
    let top = heights.iter().flatten().copied().max()?;
    let heights: Vec<Option<usize>> = heights
        .into_iter()
        .zip(&network.is_high)
        .map(|(height, &is_high)| if is_high { Some(top + 1) } else { height })
        .collect();
    heights.into_iter().collect()
}

/// All nodes, each followed by those below it, from above.
fn walk(network: &Network, heights: &[usize]) -> Vec<usize> {
    let mut roots: Vec<usize> = (0..heights.len()).collect();
    roots.sort_by_key(|&node| (usize::MAX - heights[node], node));
    let mut is_seen = vec![false; heights.len()];
    let mut all = Vec::new();
    for root in roots {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut is_seen[node], true) {
                continue;
            }
            all.push(node);
            let below = network.neighbours[node].iter().rev();
            open.extend(below.filter(|&&other| heights[other] <= heights[node]));
        }
    }
    all
}

/// Gives each node of each row its place in it, as a share of the row.
fn number(rows: &[Vec<usize>], order: &mut [f64]) {
    for row in rows {
        for (at, &node) in row.iter().enumerate() {
            order[node] = (float(at) + 0.5) / float(row.len());
        }
    }
}

/// Sorts a row by the mean place of the neighbours of each node.
fn sort(row: &mut [usize], network: &Network, order: &mut [f64]) {
    let mean = |node: usize| {
        let others = &network.neighbours[node];
        if others.is_empty() {
            return order[node];
        }
        others.iter().map(|&other| order[other]).sum::<f64>() / float(others.len())
    };
    let mut wanted: Vec<(f64, usize)> = row.iter().map(|&node| (mean(node), node)).collect();
    // Stable: equal ones stay as they are.
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, (_, node)) in wanted.into_iter().enumerate() {
        row[at] = node;
        order[node] = (float(at) + 0.5) / float(row.len());
    }
}

/// Places: the lowest row evenly, each higher one above its neighbours, with the spacing kept.
fn spread(rows: &[Vec<usize>], network: &Network) -> Vec<Point> {
    let count = network.neighbours.len();
    let mut x = vec![0.0; count];
    let mut y = vec![0.0; count];
    let widest = rows.iter().map(Vec::len).max().unwrap_or(0);
    for (height, row) in rows.iter().enumerate() {
        let spacing = network.spacing * (float(widest) / float(row.len().max(1))).clamp(1.0, 3.0);
        for (at, &node) in row.iter().enumerate() {
            x[node] = (float(at) - float(row.len()) / 2.0) * spacing;
            y[node] = -float(height) * ROW_HEIGHT;
        }
    }
    // The last round is upwards: what is above stands over the middle of what is below.
    for round in 0..=2 * ROUNDS {
        for at in 0..rows.len() {
            let at = if round % 2 == 0 { at } else { rows.len() - 1 - at };
            settle(&rows[at], network, &mut x, &y, round % 2 == 0);
        }
    }
    x.into_iter().zip(y).collect()
}

/// Moves the nodes of a row towards the mean of their neighbours on one side, as far as the spacing allows.
fn settle(row: &[usize], network: &Network, x: &mut [f64], y: &[f64], from_below: bool) {
    let wanted: Vec<f64> = row
        .iter()
        .map(|&node| {
            let side = network.neighbours[node].iter();
            let side = side
                .filter(|&&other| if from_below { y[other] > y[node] } else { y[other] < y[node] });
            let side: Vec<f64> = side.map(|&other| x[other]).collect();
            if side.is_empty() { x[node] } else { side.iter().sum::<f64>() / float(side.len()) }
        })
        .collect();
    // From the left and from the right; the mean of both keeps the spacing and the middle.
    let mut left = wanted.clone();
    for at in 1..left.len() {
        left[at] = left[at].max(left[at - 1] + network.spacing);
    }
    let mut right = wanted;
    for at in (1..right.len()).rev() {
        right[at - 1] = right[at - 1].min(right[at] - network.spacing);
    }
    for ((&node, left), right) in row.iter().zip(left).zip(right) {
        x[node] = f64::midpoint(left, right);
    }
}
