//! A network as a picture that browsers and printers show, on light and on dark ground.

use super::drawing::{Drawing, DrawnLink, LinkState, Shape};
use super::layout::{Network, Point, float, place};
use std::fmt::Write as _;

/// Around the picture.
const MARGIN: f64 = 70.0;

/// Where the network begins: below the title.
const TOP: f64 = 60.0;

/// Half the size of a node.
const HALF: f64 = 20.0;

/// How wide a character of a label is, at most.
const LABEL_CHAR: f64 = 6.2;

/// How wide a character of a name is, at most.
const NAME_CHAR: f64 = 7.4;

/// The height of a line of a label.
const LABEL_HEIGHT: f64 = 13.0;

/// The longest label at a link; the rest is in its tooltip.
const LABEL_LEN_MAX: usize = 44;

/// More nodes than this have no captions at their links: nobody could read them.
const CAPTIONS_MAX: usize = 80;

/// How far apart the links of two nodes are, if they have several.
const BEND: f64 = 26.0;

const STYLE: &str = "\
svg{font-family:'DejaVu Sans','Noto Sans',sans-serif}\
.z{fill:#fff}.t{font-size:17px;font-weight:600;fill:#1c2430}\
.s,.g{font-size:11px;fill:#5b6675}\
.n{font-size:12px;fill:#1c2430;text-anchor:middle}\
.c{font-size:10px;fill:#3d4a5c;text-anchor:middle;stroke:#fff;stroke-width:4px;paint-order:stroke;stroke-linejoin:round}\
.h{stroke:#fff;stroke-width:4px;paint-order:stroke;stroke-linejoin:round}\
.l{fill:none;stroke:#8a94a3;stroke-width:1.8}.e{stroke:#2f6fde;stroke-width:2}\
.f{stroke:#d22f3a;stroke-width:2;stroke-dasharray:6 5}\
.b{stroke-width:1.6}.i{fill:none;stroke-width:1.6;stroke-linecap:round;stroke-linejoin:round}\
.host .b{fill:#e9eef6;stroke:#5b6f8f}.host .i{stroke:#5b6f8f}\
.guest .b{fill:#efe8f7;stroke:#7a58a8}.guest .i{stroke:#7a58a8}\
.router .b{fill:#e3f1e7;stroke:#2f8550}.router .i{stroke:#2f8550}\
.switch .b{fill:#fdf1dc;stroke:#b07a1d}.switch .i{stroke:#b07a1d}\
.NAT .b{fill:#fde9e4;stroke:#c05a3c}.NAT .i{stroke:#c05a3c}\
.outside .b{fill:#f3f4f6;stroke:#77808d;stroke-dasharray:4 3}.outside .i{stroke:#77808d}\
.x .b{stroke:#d22f3a;stroke-width:2.4;stroke-dasharray:5 4}\
@media (prefers-color-scheme:dark){\
.z{fill:#12171e}.t,.n{fill:#e8ecf2}.s,.g{fill:#9aa6b5}.c{fill:#b9c4d2;stroke:#12171e}.h{stroke:#12171e}\
.l{stroke:#6d7887}.e{stroke:#6ea0ff}.f{stroke:#ff6b74}\
.host .b{fill:#222c3b;stroke:#92a8cc}.host .i{stroke:#92a8cc}\
.guest .b{fill:#2d2439;stroke:#b594e0}.guest .i{stroke:#b594e0}\
.router .b{fill:#1b3124;stroke:#6fcf93}.router .i{stroke:#6fcf93}\
.switch .b{fill:#382c15;stroke:#e3ac4b}.switch .i{stroke:#e3ac4b}\
.NAT .b{fill:#3b231c;stroke:#f08f70}.NAT .i{stroke:#f08f70}\
.outside .b{fill:#1f242b;stroke:#a3adba}.outside .i{stroke:#a3adba}}";

/// A rectangle: left, top, right, bottom.
type Area = (f64, f64, f64, f64);

/// Draws the network; the same network is always drawn alike.
#[must_use]
pub fn svg(drawing: &Drawing) -> String {
    let mut places = place(&network(drawing));
    for place in &mut places {
        *place = (place.0 + MARGIN, place.1 + TOP + HALF);
    }
    let widest = |texts: &mut dyn Iterator<Item = usize>| float(texts.max().unwrap_or(0));
    let legend = legend(drawing);
    let right = places.iter().map(|place| place.0).fold(0.0, f64::max);
    let below = places.iter().map(|place| place.1).fold(0.0, f64::max);
    let title_width = widest(&mut std::iter::once(drawing.title.chars().count())) * 11.0 + 260.0;
    let width = (right + MARGIN).max(legend.1 + 2.0 * 20.0).max(title_width);
    let height = below + HALF + 90.0;
    // What is narrower than its legend stands in the middle.
    let shift = (width - right - MARGIN) / 2.0;
    for place in &mut places {
        place.0 += shift;
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(&drawing.title)
    );
    text += "<rect class=\"z\" width=\"100%\" height=\"100%\"/>\n";
    let (nodes, links) = (drawing.nodes.len(), drawing.links.len());
    writeln!(
        text,
        "<text class=\"t\" x=\"20\" y=\"32\">{}<tspan class=\"s\" dx=\"12\">{nodes} nodes, {links} links</tspan></text>",
        escaped(&drawing.title)
    )
    .expect("a string takes all");
    draw_links(&mut text, drawing, &places, width);
    for (node, &(x, y)) in drawing.nodes.iter().zip(&places) {
        let failed = if node.has_failed { " x" } else { "" };
        let notes: String = node.notes.iter().map(|note| format!("\n{note}")).collect();
        writeln!(
            text,
            "<g class=\"{}{failed}\" transform=\"translate({x:.1} {y:.1})\"><title>{} ({}){}</title>{}\
             <text class=\"n h\" y=\"{:.0}\">{}</text></g>",
            node.shape.as_str(),
            escaped(&node.name),
            node.shape.as_str(),
            escaped(&notes),
            symbol(node.shape),
            HALF + 14.0,
            escaped(&node.name),
        )
        .expect("a string takes all");
    }
    writeln!(text, "<g transform=\"translate(20 {:.0})\">{}</g>\n</svg>", height - 28.0, legend.0)
        .expect("a string takes all");
    text
}

fn network(drawing: &Drawing) -> Network {
    let neighbours = drawing.neighbours().into_iter().enumerate().map(|(node, others)| {
        let mut others: Vec<usize> = others.into_iter().map(|(_, other)| other).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|&other| other != node);
        others
    });
    let is = |wanted: [Shape; 2]| {
        drawing.nodes.iter().map(move |node| wanted.contains(&node.shape)).collect::<Vec<bool>>()
    };
    let longest = drawing.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    Network {
        neighbours: neighbours.collect(),
        is_low: is([Shape::Host, Shape::Guest]),
        is_high: is([Shape::Nat, Shape::Outside]),
        spacing: (float(longest) * NAME_CHAR + 24.0).clamp(90.0, 240.0),
    }
}

fn draw_links(text: &mut String, drawing: &Drawing, places: &[Point], width: f64) {
    let mut taken: Vec<Area> = Vec::new();
    for (node, &(x, y)) in drawing.nodes.iter().zip(places) {
        taken.push((x - HALF, y - HALF, x + HALF, y + HALF));
        let half = float(node.name.chars().count()) * NAME_CHAR / 2.0;
        taken.push((x - half, y + HALF, x + half, y + HALF + 18.0));
    }
    let mut captions = String::new();
    let mut seen = std::collections::BTreeMap::<(usize, usize), usize>::new();
    let mut counts = seen.clone();
    let pair = |link: &DrawnLink| (link.ends[0].min(link.ends[1]), link.ends[0].max(link.ends[1]));
    for link in &drawing.links {
        *counts.entry(pair(link)).or_default() += 1;
    }
    for link in &drawing.links {
        let [a, b] = link.ends.map(|end| places[end]);
        let (total, number) = (counts[&pair(link)], seen.entry(pair(link)).or_default());
        let mut bend = (float(*number) - (float(total) - 1.0) / 2.0) * BEND;
        *number += 1;
        // The same side for both directions of writing the ends.
        if link.ends[0] > link.ends[1] {
            bend = -bend;
        }
        let curve = Curve::new(a, b, bend);
        let class = match (link.state, link.is_emulated) {
            (LinkState::Failed, _) => "l f",
            (LinkState::Up, true) => "l e",
            (LinkState::Up, false) => "l",
        };
        let caption = link.caption();
        let tip = format!("{} {}", link.name, caption);
        writeln!(
            text,
            "<path class=\"{class}\" d=\"{}\"><title>{}</title></path>",
            curve.path(),
            escaped(tip.trim())
        )
        .expect("a string takes all");
        if !caption.is_empty() && drawing.nodes.len() <= CAPTIONS_MAX {
            draw_caption(&mut captions, &caption, &curve, (&mut taken, width));
        }
    }
    *text += &captions;
}

/// A line from a node to a node, bent aside in its middle.
struct Curve {
    a: Point,
    b: Point,
    control: Point,
}

impl Curve {
    fn new(a: Point, b: Point, bend: f64) -> Self {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy).max(1.0);
        let middle = (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1));
        // The control point of a quadratic curve is twice as far aside as its middle.
        let control = (middle.0 - dy / length * bend * 2.0, middle.1 + dx / length * bend * 2.0);
        Self { a, b, control }
    }

    fn path(&self) -> String {
        let Self { a, b, control } = self;
        format!("M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", a.0, a.1, control.0, control.1, b.0, b.1)
    }

    /// The point at a share of the way.
    fn at(&self, share: f64) -> Point {
        let rest = 1.0 - share;
        let mix =
            |a: f64, c: f64, b: f64| rest * rest * a + 2.0 * rest * share * c + share * share * b;
        (mix(self.a.0, self.control.0, self.b.0), mix(self.a.1, self.control.1, self.b.1))
    }
}

/// Writes a caption where it covers least: near the middle of its line, or else nearer to an end.
fn draw_caption(
    text: &mut String,
    caption: &str,
    curve: &Curve,
    (taken, width): (&mut Vec<Area>, f64),
) {
    let mut caption: String = caption.to_owned();
    if caption.chars().count() > LABEL_LEN_MAX {
        caption = caption.chars().take(LABEL_LEN_MAX - 1).chain(['…']).collect();
    }
    let half = float(caption.chars().count()) * LABEL_CHAR / 2.0;
    let at = |share: f64| {
        let (x, y) = curve.at(share);
        // Not beyond the edges of the picture.
        (x.min(width - half - 4.0).max(half + 4.0), y)
    };
    let area = |share: f64| {
        let (x, y) = at(share);
        (x - half, y - LABEL_HEIGHT / 2.0, x + half, y + LABEL_HEIGHT / 2.0)
    };
    let cover = |a: Area, b: &Area| {
        let width = a.2.min(b.2) - a.0.max(b.0);
        let height = a.3.min(b.3) - a.1.max(b.1);
        if width > 0.0 && height > 0.0 { width * height } else { 0.0 }
    };
    let cost = |share: f64| {
        let area = area(share);
        taken.iter().map(|other| cover(area, other)).sum::<f64>() + (share - 0.5).abs()
    };
    let shares = [0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72, 0.22, 0.78];
    let best = shares.into_iter().min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0.5);
    let (x, y) = at(best);
    taken.push(area(best));
    writeln!(
        text,
        "<text class=\"c\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
        y + 3.5,
        escaped(&caption)
    )
    .expect("a string takes all");
}

/// The symbol of a node, around (0, 0).
const fn symbol(shape: Shape) -> &'static str {
    match shape {
        Shape::Router => {
            "<circle class=\"b\" r=\"20\"/><path class=\"i\" d=\"M-12 0H-4M-7-3-4 0-7 3M12 0H4M7-3 4 0 7 3M0-4V-12M-3-9 0-12 \
             3-9M0 4V12M-3 9 0 12 3 9\"/>"
        }
        Shape::Switch => {
            "<rect class=\"b\" x=\"-24\" y=\"-15\" width=\"48\" height=\"30\" rx=\"5\"/><path class=\"i\" d=\"M-14-5H13M9-9 \
             13-5 9-1M14 6H-13M-9 2-13 6-9 10\"/>"
        }
        Shape::Host => {
            "<rect class=\"b\" x=\"-19\" y=\"-17\" width=\"38\" height=\"26\" rx=\"4\"/><path class=\"i\" d=\"M0 9V16M-10 \
             17H10M-13-11H13V3H-13Z\"/>"
        }
        Shape::Guest => {
            "<rect class=\"b\" x=\"-19\" y=\"-17\" width=\"38\" height=\"34\" rx=\"4\"/><rect class=\"i\" x=\"-11\" y=\"-9\" \
             width=\"22\" height=\"18\" rx=\"2\"/>"
        }
        Shape::Nat => {
            "<path class=\"b\" d=\"M-14 14H13A9 9 0 0 0 15-3 11 11 0 0 0-5-9 9 9 0 0 0-18-2 8.500 8.500 0 0 0-14 14Z\"/><path \
             class=\"i\" d=\"M-8 3H7M3-1 7 3 3 7\"/>"
        }
        Shape::Outside => {
            "<rect class=\"b\" x=\"-20\" y=\"-15\" width=\"40\" height=\"30\" rx=\"3\"/><path class=\"i\" d=\"M-10 0H10M6-4 10 \
             0 6 4\"/>"
        }
    }
}

/// The legend: the symbols and lines that occur. And its width.
fn legend(drawing: &Drawing) -> (String, f64) {
    let mut text = String::new();
    let mut x = 0.0;
    for shape in Shape::ALL {
        if drawing.nodes.iter().any(|node| node.shape == shape) {
            let name = shape.as_str();
            write!(
                text,
                "<g class=\"{name}\" transform=\"translate({:.0} 0) scale(.5)\">{}</g><text class=\"g\" x=\"{:.0}\" \
                 y=\"4\">{name}</text>",
                x + 12.0,
                symbol(shape),
                x + 30.0
            )
            .expect("a string takes all");
            x += 44.0 + float(name.len()) * 7.0;
        }
    }
    let has = |wanted: fn(&DrawnLink) -> bool| drawing.links.iter().any(wanted);
    let lines = [
        ("l", "link", has(|link| link.state == LinkState::Up && !link.is_emulated)),
        ("l e", "emulated link", has(|link| link.state == LinkState::Up && link.is_emulated)),
        ("l f", "failed link", has(|link| link.state == LinkState::Failed)),
    ];
    for (class, name, _) in lines.into_iter().filter(|(.., is_there)| *is_there) {
        write!(
            text,
            "<path class=\"{class}\" d=\"M{x:.0} 0h26\"/><text class=\"g\" x=\"{:.0}\" y=\"4\">{name}</text>",
            x + 33.0
        )
        .expect("a string takes all");
        x += 47.0 + float(name.len()) * 7.0;
    }
    (text, x)
}

/// Text in XML; control characters, which it cannot have, become spaces.
fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => all += "&lt;",
            '>' => all += "&gt;",
            '&' => all += "&amp;",
            '"' => all += "&quot;",
            '\n' => all.push('\n'),
            c if c.is_control() => all.push(' '),
            c => all.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::STYLE;

    /// The luminance of a color: WCAG 2.2.
    fn luminance(color: &str) -> f64 {
        let digits: Vec<u32> = color.chars().map(|c| c.to_digit(16).unwrap()).collect();
        let part = |at: usize| match digits.len() {
            3 => f64::from(digits[at] * 17),
            _ => f64::from(digits[2 * at] * 16 + digits[2 * at + 1]),
        };
        let linear = |at| {
            let share = part(at) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055_f64).powf(2.4) }
        };
        0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (a, b) = (luminance(one), luminance(other));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// What a class has for a property; the last rule counts.
    fn color(style: &str, class: &str, property: &str) -> String {
        let rules = style.split('}').filter_map(|rule| rule.split_once('{'));
        let of_class = rules.filter(|(classes, _)| classes.split(',').any(|of| of == class));
        let mut found = of_class.flat_map(|(_, body)| body.split(';')).filter_map(|one| {
            let (name, value) = one.split_once(':')?;
            (name == property).then(|| value.strip_prefix('#')).flatten()
        });
        found.next_back().unwrap_or_else(|| panic!("{class} {property}")).to_owned()
    }

    #[test]
    fn pictures_are_readable_on_light_and_dark_ground() {
        let (light, dark) = STYLE.split_once("@media (prefers-color-scheme:dark){").unwrap();
        for style in [light.to_owned(), format!("{light}{dark}")] {
            let ground = color(&style, ".z", "fill");
            let against =
                |class: &str, property: &str| contrast(&color(&style, class, property), &ground);
            // Text, then lines and outlines of symbols.
            for class in [".t", ".s", ".g", ".n", ".c"] {
                assert!(against(class, "fill") >= 4.5, "{class} on {ground}");
            }
            for class in [".l", ".e", ".f"] {
                assert!(against(class, "stroke") >= 3.0, "{class} on {ground}");
            }
            for class in [".host", ".guest", ".router", ".switch", ".NAT", ".outside"] {
                let (box_of, sign) = (format!("{class} .b"), format!("{class} .i"));
                assert!(against(&box_of, "stroke") >= 3.0, "{class} on {ground}");
                let inside =
                    contrast(&color(&style, &sign, "stroke"), &color(&style, &box_of, "fill"));
                assert!(inside >= 3.0, "{class}: {inside}");
            }
            // What surrounds a name is as the ground.
            assert!([".h", ".c"].iter().all(|class| color(&style, class, "stroke") == ground));
        }
    }
}
