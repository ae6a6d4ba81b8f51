//! Pictures of a network: for a terminal, as SVG, and as text of Graphviz.
//!
//! ```text
//! drawing.rs  what is drawn, whatever it comes from: a plan, or a plan and what a running lab reports
//! text.rs     a tree for terminals    dot.rs   for Graphviz
//! svg.rs      a picture               layout/  where its nodes are
//! ```

mod dot;
mod drawing;
mod layout;
mod svg;
mod text;

pub use dot::dot;
pub use drawing::{Drawing, DrawnLink, DrawnNode, Flow, LinkState, Shape};
pub use svg::svg;
pub use text::text;

#[cfg(test)]
mod tests;
