//! A network as a tree, for terminals.

use super::drawing::{Drawing, Shape};
use std::fmt::Write as _;

/// The smallest width: a name, what it is, and a little of the rest.
const WIDTH_MIN: usize = 40;

/// The deepest indentation: what is deeper is drawn at this depth.
const DEPTH_MAX: usize = 12;

/// Draws the network as a tree in lines of at most `width` characters.
///
/// The tree begins at the way out, or at the node with most links. A link that is not part of the tree stands
/// below one of its ends, with the name of the other end in brackets.
#[must_use]
pub fn text(drawing: &Drawing, width: usize) -> String {
    let neighbours = drawing.neighbours();
    let mut tree = Tree {
        drawing,
        neighbours,
        is_drawn: vec![false; drawing.nodes.len()],
        is_used: vec![false; drawing.links.len()],
        width: width.max(WIDTH_MIN),
        text: String::new(),
    };
    let (nodes, links) = (drawing.nodes.len(), drawing.links.len());
    writeln!(tree.text, "{}: {nodes} nodes, {links} links", drawing.title)
        .expect("a string takes all");
    while let Some(root) = tree.root() {
        tree.text.push('\n');
        tree.draw(root);
    }
    tree.text
}

struct Tree<'a> {
    drawing: &'a Drawing,
    neighbours: Vec<Vec<(usize, usize)>>,
    is_drawn: Vec<bool>,
    is_used: Vec<bool>,
    width: usize,
    text: String,
}

/// A line that will be drawn: a node by a link, or a link to a node that is drawn elsewhere.
struct Branch {
    link: Option<usize>,
    node: usize,
    /// For each level above: whether more follows there.
    more: Vec<bool>,
    is_cross: bool,
}

impl Tree<'_> {
    /// Where the next tree begins.
    fn root(&self) -> Option<usize> {
        let open = (0..self.is_drawn.len()).filter(|&node| !self.is_drawn[node]);
        open.min_by_key(|&node| {
            let is_inside = self.drawing.nodes[node].shape > Shape::Outside;
            (is_inside, usize::MAX - self.neighbours[node].len(), node)
        })
    }

    fn draw(&mut self, root: usize) {
        let order = self.tree_of(root);
        let mut open = vec![Branch { link: None, node: root, more: Vec::new(), is_cross: false }];
        while let Some(branch) = open.pop() {
            self.line(&branch);
            if branch.is_cross {
                continue;
            }
            let mut below = Vec::new();
            for &(link, other) in &self.neighbours[branch.node] {
                let is_child = order[other] == Some(link);
                if !std::mem::replace(&mut self.is_used[link], true) {
                    below.push((link, other, !is_child));
                }
            }
            // Crossing links first: below a large branch nobody would find them.
            below.sort_by_key(|(_, _, is_cross)| !is_cross);
            let count = below.len();
            for (at, (link, node, is_cross)) in below.into_iter().enumerate().rev() {
                let mut more = branch.more.clone();
                more.push(at + 1 < count);
                open.push(Branch { link: Some(link), node, more, is_cross });
            }
        }
    }

    /// The link by which each node is reached first from `root`, level by level.
    fn tree_of(&mut self, root: usize) -> Vec<Option<usize>> {
        let mut by = vec![None; self.is_drawn.len()];
        let mut queue = std::collections::VecDeque::from([root]);
        self.is_drawn[root] = true;
        while let Some(node) = queue.pop_front() {
            for &(link, other) in &self.neighbours[node] {
                if !std::mem::replace(&mut self.is_drawn[other], true) {
                    by[other] = Some(link);
                    queue.push_back(other);
                }
            }
        }
        by
    }

    fn line(&mut self, branch: &Branch) {
        let mut line = String::new();
        let depth = branch.more.len();
        for (level, &more) in branch.more.iter().enumerate() {
            // A chain of a thousand routers stays readable.
            if level + DEPTH_MAX < depth {
                continue;
            }
            line += match (level + 1 == depth, more) {
                (true, true) => "├─ ",
                (true, false) => "└─ ",
                (false, true) => "│  ",
                (false, false) => "   ",
            };
        }
        let node = &self.drawing.nodes[branch.node];
        if branch.is_cross {
            line += &format!("({})", node.name);
        } else {
            line += &format!("{} {}", node.name, node.shape.as_str());
        }
        if let Some(link) = branch.link.map(|link| &self.drawing.links[link]) {
            let caption = link.caption();
            if !caption.is_empty() {
                line += &format!("  [{caption}]");
            }
        }
        if node.has_failed {
            line += "  failed";
        }
        if !branch.is_cross {
            for note in &node.notes {
                let room = self.width.saturating_sub(line.chars().count());
                if note.chars().count() + 2 > room {
                    break;
                }
                line += &format!("  {note}");
            }
        }
        if line.chars().count() > self.width {
            line = line.chars().take(self.width - 1).collect();
            line.push('…');
        }
        self.text += line.trim_end();
        self.text.push('\n');
    }
}
