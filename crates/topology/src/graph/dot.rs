//! A network as text of Graphviz.

use super::drawing::{Drawing, LinkState, Shape};
use std::fmt::Write as _;

/// Writes an undirected graph in the DOT language: `adit lab graph --dot | dot -Tsvg`.
#[must_use]
pub fn dot(drawing: &Drawing) -> String {
    let mut text = format!(
        "graph {} {{\n  layout=neato; overlap=false; splines=true; outputorder=edgesfirst;\n  \
         node [fontname=\"sans-serif\", style=filled, fillcolor=white];\n  \
         edge [fontname=\"sans-serif\", fontsize=10];\n",
        quoted(&drawing.title)
    );
    for node in &drawing.nodes {
        let shape = match node.shape {
            Shape::Nat => "house",
            Shape::Outside => "plaintext",
            Shape::Router => "ellipse",
            Shape::Switch => "box3d",
            Shape::Host => "box",
            Shape::Guest => "component",
        };
        let color = if node.has_failed { ", color=red" } else { "" };
        let tooltip = quoted(&node.notes.join(" "));
        writeln!(text, "  {} [shape={shape}{color}, tooltip={tooltip}];", quoted(&node.name))
            .expect("a string takes all");
    }
    for link in &drawing.links {
        let [a, b] = link.ends.map(|end| quoted(&drawing.nodes[end].name));
        let [tail, head] = link.interfaces.each_ref().map(|name| quoted(name));
        let style = match (link.state, link.is_emulated) {
            (LinkState::Failed, _) => ", color=red, style=dashed",
            (LinkState::Up, true) => ", color=blue",
            (LinkState::Up, false) => "",
        };
        let label = quoted(&link.caption());
        writeln!(text, "  {a} -- {b} [label={label}, taillabel={tail}, headlabel={head}{style}];")
            .expect("a string takes all");
    }
    text + "}\n"
}

/// A string of DOT. A backslash begins an escape there (`\n`, `\N`), so it is doubled.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "))
}
