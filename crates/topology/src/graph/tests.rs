use super::{Drawing, DrawnLink, DrawnNode, Flow, LinkState, Shape, dot, svg, text};

fn node(name: &str, shape: Shape) -> DrawnNode {
    DrawnNode {
        name: name.to_owned(),
        shape,
        has_failed: false,
        notes: vec!["10.0.0.1/24".to_owned()],
    }
}

fn link(a: usize, b: usize, label: &str) -> DrawnLink {
    DrawnLink {
        name: format!("{a}-{b}"),
        ends: [a, b],
        interfaces: ["eth0".to_owned(), String::new()],
        label: label.to_owned(),
        is_emulated: !label.is_empty(),
        state: LinkState::Up,
        flows: None,
    }
}

/// Two spines, three leaves, two hosts at each leaf, and a way out.
fn leaf_spine() -> Drawing {
    let mut nodes = vec![node("spine1", Shape::Router), node("spine2", Shape::Router)];
    let mut links = Vec::new();
    for leaf in 0..3 {
        let at = nodes.len();
        nodes.push(node(&format!("leaf{leaf}"), Shape::Router));
        links.push(link(at, 0, ""));
        links.push(link(at, 1, "1ms 100mbit"));
        for host in 0..2 {
            links.push(link(at, nodes.len(), ""));
            nodes.push(node(&format!("h{leaf}{host}"), Shape::Host));
        }
    }
    nodes.push(node("internet", Shape::Nat));
    links.push(link(0, nodes.len() - 1, "20ms 50mbit"));
    links[1].state = LinkState::Failed;
    links[0].flows = Some([Flow { bits_per_second: 12_340_000, drops: 3 }, Flow::default()]);
    Drawing { title: "leaf & spine".to_owned(), nodes, links }
}

fn ring(count: usize) -> Drawing {
    let nodes = (0..count).map(|at| node(&format!("r{at}"), Shape::Router)).collect();
    let links = (0..count).map(|at| link(at, (at + 1) % count, "5ms")).collect();
    Drawing { title: "ring".to_owned(), nodes, links }
}

#[test]
fn a_tree_names_every_node_and_link_in_80_columns() {
    let drawing = leaf_spine();
    let text = text(&drawing, 80);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for node in &drawing.nodes {
        assert_eq!(
            text.matches(&format!("{} {}", node.name, node.shape.as_str())).count(),
            1,
            "{text}"
        );
    }
    // A line for each node, and for each link that is not part of the tree.
    let cross = drawing.links.len() - (drawing.nodes.len() - 1);
    assert_eq!(text.lines().count(), 2 + drawing.nodes.len() + cross, "{text}");
    assert!(text.contains("[\u{2192}12.3M \u{2190}0, 3 dropped]"), "{text}");
    assert!(text.contains("(spine2)  [failed, 1ms 100mbit]") || text.contains("[failed"), "{text}");
}

#[test]
fn chains_and_parts_are_drawn_whole() {
    let mut chain = ring(300);
    chain.links.pop();
    chain.nodes.push(node("alone", Shape::Host));
    let text = text(&chain, 80);
    assert_eq!(text.lines().count(), 301 + 3, "a title, and an empty line before each part");
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

/// The places of all nodes in an SVG.
fn places(svg: &str) -> Vec<(f64, f64)> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let document = roxmltree::Document::parse(svg).unwrap();
    let nodes = document
        .descendants()
        .filter(|node| node.children().any(|child| child.attribute("class") == Some("n h")));
    nodes
        .map(|node| {
            let (_, place) = node.attribute("transform").unwrap().split_once('(').unwrap();
            let (x, y) = place.trim_end_matches(')').split_once(' ').unwrap();
            (number(x), number(y))
        })
        .collect()
}

#[test]
fn pictures_are_well_formed_and_nodes_stay_apart() {
    for drawing in [leaf_spine(), ring(3), ring(12), Drawing::default()] {
        let svg = svg(&drawing);
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert_eq!(
            document.descendants().filter(|node| node.has_tag_name("circle")).count() > 0,
            !drawing.nodes.is_empty()
        );
        let places = places(&svg);
        assert_eq!(places.len(), drawing.nodes.len());
        for (at, a) in places.iter().enumerate() {
            assert!(a.0 > 0.0 && a.1 > 0.0, "{a:?}");
            for b in &places[at + 1..] {
                assert!((a.0 - b.0).hypot(a.1 - b.1) > 50.0, "{a:?} {b:?} of {}", drawing.title);
            }
        }
        assert_eq!(svg, super::svg(&drawing), "the same network is drawn alike");
    }
}

#[test]
fn tiers_are_rows() {
    let places = places(&svg(&leaf_spine()));
    let row = |nodes: &[usize]| {
        assert!(
            nodes.iter().all(|&node| (places[node].1 - places[nodes[0]].1).abs() < 0.1),
            "{places:?}"
        );
        places[nodes[0]].1
    };
    let (out, spines, leaves, hosts) =
        (row(&[11]), row(&[0, 1]), row(&[2, 5, 8]), row(&[3, 4, 6, 7, 9, 10]));
    assert!(out < spines && spines < leaves && leaves < hosts);
}

#[test]
fn dot_escapes_what_is_special_there() {
    let mut drawing = leaf_spine();
    drawing.title = "a \"b\" \\N".to_owned();
    let dot = dot(&drawing);
    assert!(dot.starts_with("graph \"a \\\"b\\\" \\\\N\" {"), "{dot}");
    assert!(dot.contains("\"leaf0\" -- \"spine1\" [label=\"\u{2192}12.3M \u{2190}0, 3 dropped\", taillabel=\"eth0\""), "{dot}");
    assert!(dot.contains("color=red, style=dashed"), "{dot}");
}
