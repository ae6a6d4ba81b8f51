// Pictures: charts with round ticks and units, and a topology. Everything is SVG with classes; colours are in style.css.

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// The distance of round ticks, 1, 2 or 5 times a power of ten, so that there are at most `most` steps.
export function step(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size * most >= span);
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

// The prefix for numbers up to `highest`.
function prefix(highest) {
  return PREFIXES.find(([size]) => highest >= size) ?? PREFIXES.at(-1);
}

// A number with three digits and a unit: "12.3 Mbit/s".
export function amount(value, unit) {
  const [size, letter] = prefix(value);
  const scaled = value / size;
  const digits = scaled >= 100 || (size === 1 && Number.isInteger(scaled)) ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${letter}${unit}`.trim();
}

// A chart of the last `seconds`; a series is {name, points: [[age in seconds, value]]}.
export function chart(place, { title, unit, seconds, series }) {
  const width = Math.max(place.clientWidth, 240), height = 190;
  const left = 62, right = 8, top = 24, bottom = 34;
  const highest = Math.max(...series.flatMap((one) => one.points.map((point) => point[1])), 0);
  const size = step(highest > 0 ? highest : 1, 4);
  const most = Math.max(Math.ceil(highest / size), 1) * size;
  const [scale, letter] = prefix(most);
  const x = (age) => left + (1 - age / seconds) * (width - left - right);
  const y = (value) => top + (1 - value / most) * (height - top - bottom);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const decimals = Math.max(0, -Math.floor(Math.log10(size / scale) + 1e-9));
  for (let at = 0; at <= most * 1.0001; at += size) {
    picture.append(
      svg("line", { class: at === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
      svg("text", { class: "small end", x: left - 6, y: y(at) + 4 }, (at / scale).toFixed(decimals)),
    );
  }
  for (let age = 0; age <= seconds; age += 60) {
    const name = age === 0 ? "now" : `-${age / 60} min`;
    const anchor = age === 0 ? "small end" : age === seconds ? "small" : "small middle";
    picture.append(
      svg("line", { class: "grid", x1: x(age), x2: x(age), y1: top, y2: height - bottom }),
      svg("text", { class: anchor, x: x(age), y: height - bottom + 15 }, name),
    );
  }
  picture.append(svg("text", { class: "small", x: 2, y: 12 }, `${letter}${unit}`));
  picture.append(svg("text", { class: "small middle", x: (left + width - right) / 2, y: height - 4 }, "Time"));
  let legend = left;
  series.forEach((one, index) => {
    const points = one.points.filter(([age]) => age <= seconds).map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`);
    picture.append(svg("polyline", { class: `series s${index % 4}`, points: points.join(" ") }));
    const last = one.points.at(-1);
    const name = last ? `${one.name} ${amount(last[1], unit)}` : one.name;
    picture.append(
      svg("line", { class: `series s${index % 4}`, x1: legend, x2: legend + 22, y1: 8, y2: 8 }),
      svg("text", { x: legend + 26, y: 12 }, name),
    );
    legend += 40 + name.length * 7;
  });
  place.replaceChildren(picture);
}

// As much of a text as fits into a width.
function fit(text, width) {
  const most = Math.floor(width / 6.8);
  return text.length <= most ? text : `${text.slice(0, Math.max(most - 1, 1))}\u2026`;
}

// A box with two lines; a state is a class, a word and a shape of the border, never a colour alone.
function box(node, x, y, width, height) {
  const group = svg("g", { "data-id": node.id }, svg("title", {}, `${node.label} ${node.note ?? ""}`));
  group.append(
    svg("rect", { class: `box ${node.class ?? ""} ${node.state ?? ""}`, x, y, width, height, rx: 6 }),
    svg("text", { x: x + 8, y: y + 17 }, fit(node.label, width - 12)),
    svg("text", { class: `small ${node.state === "ok" ? "" : node.state ?? ""}`, x: x + 8, y: y + 33 }, fit(node.note ?? "", width - 12)),
  );
  return group;
}

// A hub with spokes on both sides, or on one where there is little room.
function star(place, hub, spokes) {
  const width = Math.max(place.clientWidth, 280);
  const sides = width >= 620 && spokes.length > 1 ? 2 : 1;
  const rows = Math.max(Math.ceil(spokes.length / sides), 1);
  const high = 42, gap = 10, side = sides === 2 ? width * 0.34 : width * 0.52;
  const height = rows * (high + gap) + gap;
  const hubWidth = sides === 2 ? width * 0.2 : width * 0.32;
  const hubX = sides === 2 ? (width - hubWidth) / 2 : 2, hubY = (height - high) / 2;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Topology" });
  const boxes = [];
  spokes.forEach((spoke, index) => {
    const isLeft = sides === 2 && index % 2 === 1;
    const y = gap + Math.floor(index / sides) * (high + gap);
    const x = isLeft ? 2 : width - side - 2;
    const [from, to] = isLeft ? [hubX, x + side] : [hubX + hubWidth, x];
    const middle = (from + to) / 2, a = hubY + high / 2, b = y + high / 2;
    picture.append(svg("path", { class: `wire ${spoke.state}`, d: `M${from} ${a} C${middle} ${a} ${middle} ${b} ${to} ${b}` }));
    boxes.push(box(spoke, x, y, side, high));
  });
  picture.append(...boxes, box({ ...hub, class: "hub" }, hubX, hubY, hubWidth, high));
  place.replaceChildren(picture);
}

// Any graph: nodes in rows by their distance from the one with the most links.
function graph(place, nodes, links) {
  const width = Math.max(place.clientWidth, 280), high = 42, below = 34;
  const near = new Map(nodes.map((node) => [node.id, []]));
  for (const link of links) {
    near.get(link.a)?.push(link.b);
    near.get(link.b)?.push(link.a);
  }
  const order = [...nodes].sort((a, b) => near.get(b.id).length - near.get(a.id).length);
  const level = new Map();
  for (const first of order) {
    if (level.has(first.id)) continue;
    level.set(first.id, 0);
    for (const queue = [first.id]; queue.length; ) {
      const at = queue.shift();
      for (const next of near.get(at)) {
        if (level.has(next) || !near.has(next)) continue;
        level.set(next, level.get(at) + 1);
        queue.push(next);
      }
    }
  }
  const each = Math.max(2, Math.floor(width / 130));
  const rows = [];
  for (const [id, number] of level) (rows[number] ??= []).push(id);
  const lines = rows.flatMap((row) => Array.from({ length: Math.ceil(row.length / each) }, (_, at) => row.slice(at * each, (at + 1) * each)));
  const places = new Map();
  lines.forEach((line, row) => line.forEach((id, at) => {
    const cell = width / line.length, wide = Math.min(cell - 10, 170);
    places.set(id, { x: at * cell + (cell - wide) / 2, y: 4 + row * (high + below), wide });
  }));
  const height = lines.length * (high + below) - below + 10;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Topology" });
  for (const link of links) {
    const [a, b] = [places.get(link.a), places.get(link.b)];
    if (!a || !b) continue;
    const [ax, bx] = [a.x + a.wide / 2, b.x + b.wide / 2], [ay, by] = [a.y + high / 2, b.y + high / 2];
    picture.append(svg("path", { class: `wire ${link.state}`, d: `M${ax} ${ay} L${bx} ${by}` }, svg("title", {}, `${link.label} ${link.note}`)));
    if (link.state !== "ok") picture.append(svg("text", { class: `small middle ${link.state}`, x: (ax + bx) / 2, y: (ay + by) / 2 - 3 }, `${link.label}: ${link.note}`));
  }
  for (const node of nodes) {
    const { x, y, wide } = places.get(node.id);
    picture.append(box(node, x, y, wide, high));
  }
  place.replaceChildren(picture);
}

const DRAWN_MAX = 24;

export function topology(place, model) {
  if (model.links) return graph(place, model.nodes, model.links);
  let spokes = [...model.parts].sort((a, b) => b.rank - a.rank);
  const rest = spokes.length - DRAWN_MAX;
  if (rest > 0) {
    spokes = spokes.slice(0, DRAWN_MAX);
    spokes.push({ id: "", label: `${rest} more`, note: "without a problem, or below", state: "off" });
  }
  star(place, model.hub, spokes);
}
