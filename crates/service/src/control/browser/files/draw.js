// Pictures: charts with round ticks and units, and a topology. Everything is SVG with classes; colours are in style.css.

const SVG = "http://www.w3.org/2000/svg";
// The width of a label, in pixels: in the largest font of a picture.
const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "12px system-ui, sans-serif";
const widthOf = (text) => ruler.measureText(text).width;

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const canvas = (width, height, label, attributes = {}) => svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, ...attributes });

// Puts a picture in its place, unless the same one is there: what the pointer is over stays.
function show(place, picture) {
  if (place.innerHTML !== picture.outerHTML) place.replaceChildren(picture);
}

// The distance of round ticks, 1, 2 or 5 times a power of ten, so that there are at most `most` steps.
function step(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size * most >= span);
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

// The prefix for numbers up to `highest`.
function prefix(highest) {
  return PREFIXES.find(([size]) => highest >= size * 0.9995) ?? PREFIXES.at(-1);
}

// A number with three digits and a unit: "12.3 Mbit/s".
export function amount(value, unit) {
  const [size, letter] = prefix(value);
  const scaled = value / size;
  const digits = scaled >= 100 || (size === 1 && Number.isInteger(scaled)) ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${letter}${unit}`.trim();
}

// The names of lines with their last values, in rows as wide as the chart.
function legend(picture, series, unit, left, width) {
  let x = left, y = 8;
  series.forEach((one, index) => {
    const last = one.points.at(-1);
    const name = last ? `${one.name} ${amount(last[1], unit)}` : one.name;
    const wide = 42 + widthOf(name);
    if (x > left && x + wide > width) [x, y] = [left, y + 17];
    picture.append(svg("line", { class: `series s${index % 4}`, x1: x, x2: x + 22, y1: y, y2: y }), svg("text", { x: x + 27, y: y + 4 }, name));
    x += wide;
  });
  return y;
}

// A chart of the last `seconds`, whole minutes; a series is {name, points: [[age in seconds, value]]}.
export function chart(place, { title, unit, seconds, series }) {
  const width = Math.max(place.clientWidth, 240), left = 46, right = 8, bottom = 34;
  const parts = svg("g");
  const top = legend(parts, series, unit, 2, width) + 32, height = top + 166;
  const highest = Math.max(...series.flatMap((one) => one.points.map((point) => point[1])), 0) || 1;
  const size = step(highest, 4);
  const most = Math.ceil(highest / size - 1e-9) * size;
  const [scale, letter] = prefix(most);
  const x = (age) => left + (1 - age / seconds) * (width - left - right);
  const y = (value) => top + (1 - value / most) * (height - top - bottom);
  const picture = canvas(width, height, title);
  const decimals = Math.max(0, -Math.floor(Math.log10(size / scale) + 1e-9));
  for (let at = 0; at <= most * 1.0001; at += size) {
    picture.append(
      svg("line", { class: at === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
      svg("text", { class: "small end", x: left - 6, y: y(at) + 4 }, at === 0 ? "0" : (at / scale).toFixed(decimals)),
    );
  }
  // Ticks from now on, as many as have room.
  const [part, name] = seconds > 60 ? [60, "min"] : [1, "s"];
  const room = (width - left - right) / (seconds / part) / 48;
  const every = (seconds > 60 ? [1, 2, 5] : [10, 20, 30, 60]).find((number) => number * room >= 1) ?? 60;
  for (let at = 0; at * part <= seconds; at += every) {
    const age = at * part;
    const anchor = at === 0 ? "small end" : age === seconds ? "small" : "small middle";
    picture.append(
      svg("line", { class: "grid", x1: x(age), x2: x(age), y1: top, y2: height - bottom }),
      svg("text", { class: anchor, x: x(age), y: height - bottom + 15 }, at === 0 ? "now" : `\u2212${at} ${name}`),
    );
  }
  picture.append(svg("text", { class: "small", x: 2, y: top - 8 }, `${letter}${unit}`));
  picture.append(svg("text", { class: "small middle", x: (left + width - right) / 2, y: height - 4 }, "Time"), parts);
  series.forEach((one, index) => {
    const points = one.points.filter(([age]) => age <= seconds).map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`);
    picture.append(svg("polyline", { class: `series s${index % 4}`, points: points.join(" ") }));
  });
  show(place, picture);
}

// As much of a text as fits into a width.
function fit(text, width) {
  if (widthOf(text) <= width) return text;
  const cut = (length) => `${text.slice(0, length).trimEnd()}\u2026`;
  let length = text.length - 1;
  while (length > 1 && widthOf(cut(length)) > width) length -= 1;
  return cut(length);
}

const HIGH = 42;

// A box with two lines; a state is a class, a word and a shape of the border, never a colour alone.
function box(node, x, y, width) {
  const note = node.brief ?? node.note ?? "";
  const group = svg("g", { "data-id": node.id }, svg("title", {}, `${node.label} ${node.note ?? ""}`.trim()));
  group.append(
    svg("rect", { class: `box ${node.class ?? ""} ${node.state ?? ""}`.trim(), x, y, width, height: HIGH, rx: 6 }),
    svg("text", { x: x + 8, y: y + (note ? 17 : 26) }, fit(node.label, width - 12)),
    svg("text", { class: `small ${node.state === "ok" ? "" : node.state ?? ""}`.trim(), x: x + 8, y: y + 33 }, fit(note, width - 12)),
  );
  return group;
}

// A hub with spokes on both sides, or on one where there is little room.
function star(place, hub, spokes) {
  const width = Math.max(place.clientWidth, 280), gap = 10;
  const sides = width >= 480 && spokes.length > 1 ? 2 : 1;
  const columns = [[], []];
  spokes.forEach((spoke, index) => columns[sides === 1 ? 1 : spoke.side ?? (index < spokes.length / 2 ? 0 : 1)].push(spoke));
  const rows = Math.max(...columns.map((column) => column.length), 1);
  const side = width * (sides === 2 ? 0.36 : 0.56), hubWidth = width * (sides === 2 ? 0.18 : 0.28);
  const height = rows * (HIGH + gap) + gap;
  const hubX = sides === 2 ? (width - hubWidth) / 2 : 2, hubY = (height - HIGH) / 2;
  const picture = canvas(width, height, "Topology");
  const boxes = [];
  columns.forEach((column, at) => column.forEach((spoke, row) => {
    const y = gap + row * (HIGH + gap) + ((rows - column.length) * (HIGH + gap)) / 2;
    const x = at === 0 ? 2 : width - side - 2;
    const [from, to] = at === 0 ? [hubX, x + side] : [hubX + hubWidth, x];
    const middle = (from + to) / 2, a = hubY + HIGH / 2, b = y + HIGH / 2;
    picture.append(svg("path", { class: `wire ${spoke.state}`, d: `M${from} ${a} C${middle} ${a} ${middle} ${b} ${to} ${b}` }));
    boxes.push(box(spoke, x, y, side));
  }));
  picture.append(...boxes, box({ ...hub, class: "hub" }, hubX, hubY, hubWidth));
  show(place, picture);
}

// An emulated link: its ends, and an arrow for each direction with its profile. One above the other where it is narrow.
function pair(place, [a, b], ways) {
  const width = Math.max(place.clientWidth, 280), isWide = width >= 480;
  const lines = Math.max(...ways.map((way) => way.profile.length)), text = lines * 15 + 8;
  const wide = isWide ? width * 0.26 : width - 4;
  const height = isWide ? 2 * text + 34 : 2 * HIGH + text + 24;
  const picture = canvas(width, height, "Topology");
  picture.append(svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" }, svg("path", { class: "tip", d: "M0 0L8 4L0 8z" }))));
  const middle = height / 2;
  const places = isWide ? [[2, middle - HIGH / 2], [width - wide - 2, middle - HIGH / 2]] : [[2, 2], [2, height - HIGH - 2]];
  ways.forEach((way, index) => {
    const isBack = index === 1;
    let from, to, at;
    if (isWide) {
      const y = middle + (isBack ? 9 : -9);
      [from, to] = [[wide + 10, y], [width - wide - 10, y]];
      at = (line) => ({ class: "small middle", x: width / 2, y: isBack ? y + 18 + line * 15 : y - text + 12 + line * 15 });
    } else {
      const x = isBack ? width * 0.5 + 12 : 14;
      [from, to] = [[x, HIGH + 8], [x, height - HIGH - 8]];
      at = (line) => ({ class: "small", x: x + 10, y: HIGH + 25 + line * 15 });
    }
    if (isBack) [from, to] = [to, from];
    picture.append(svg("path", { class: `wire ${way.state}`, d: `M${from} L${to}`, "marker-end": "url(#arrow)" }, svg("title", {}, way.note)));
    const room = isWide ? width - 2 * wide - 20 : width / 2 - 30;
    way.profile.forEach((line, row) => picture.append(svg("text", at(row), fit(line, room))));
  });
  [a, b].forEach((end, index) => picture.append(box(end, ...places[index], wide)));
  show(place, picture);
}

// The rows of a graph from top to bottom: hosts below, and each other node as far above as it is from them. So a link
// joins nodes of one row, or of two that follow each other.
function ranks(nodes, near) {
  const level = new Map();
  const walk = (starts) => {
    starts.forEach((id) => level.set(id, 0));
    for (const queue = [...starts]; queue.length; ) {
      const at = queue.shift();
      for (const next of near.get(at)) {
        if (level.has(next)) continue;
        level.set(next, level.get(at) + 1);
        queue.push(next);
      }
    }
  };
  walk(nodes.filter((node) => node.kind === "host").map((node) => node.id));
  const byLinks = [...nodes].sort((one, other) => near.get(other.id).length - near.get(one.id).length);
  for (const { id } of byLinks) if (!level.has(id)) walk([id]);
  const rows = [];
  for (const node of nodes) (rows[level.get(node.id)] ??= []).push(node.id);
  return rows.reverse();
}

// Orders each row by the places of its neighbours in the row before, down and up again.
function untangle(rows, near) {
  const at = new Map();
  const note = (row) => row.forEach((id, index) => at.set(id, (index + 0.5) / row.length));
  rows.forEach(note);
  const passes = [[1, -1], [-1, 1], [1, -1]];
  for (const [direction, back] of passes) {
    const order = direction === 1 ? [...rows.keys()] : [...rows.keys()].reverse();
    for (const number of order) {
      const other = new Set(rows[number + back] ?? []);
      const mean = (id) => {
        const places = near.get(id).filter((next) => other.has(next)).map((next) => at.get(next));
        return places.length ? places.reduce((sum, one) => sum + one, 0) / places.length : at.get(id);
      };
      const means = new Map(rows[number].map((id) => [id, mean(id)]));
      rows[number].sort((one, two) => means.get(one) - means.get(two));
      note(rows[number]);
    }
  }
}

const NODES_DRAWN_MAX = 150;

// Any graph. A row that is wider than the place scrolls.
function graph(place, nodes, links) {
  if (nodes.length > NODES_DRAWN_MAX) {
    place.textContent = `${nodes.length} nodes and ${links.length} links: \u2018adit lab graph\u2019 draws them.`;
    return;
  }
  const cellMin = 84, below = 40;
  const near = new Map(nodes.map((node) => [node.id, []]));
  const joined = links.filter((link) => near.has(link.a) && near.has(link.b));
  for (const { a, b } of joined) {
    near.get(a).push(b);
    near.get(b).push(a);
  }
  const rows = ranks(nodes, near);
  untangle(rows, near);
  const width = Math.max(place.clientWidth, 280, Math.max(...rows.map((row) => row.length)) * cellMin);
  const spots = new Map();
  rows.forEach((row, number) => row.forEach((id, at) => {
    const cell = width / row.length, wide = Math.min(cell - 14, 170);
    spots.set(id, { row: number, at, x: at * cell + (cell - wide) / 2, y: 4 + number * (HIGH + below), wide, top: [], bottom: [] });
  }));
  // Each link gets a place of its own at the edge of a box, from left to right as its other end lies.
  const wires = joined.map((link) => {
    const [one, two] = [spots.get(link.a), spots.get(link.b)].sort((a, b) => a.row - b.row || a.at - b.at);
    const wire = { link, one, two, beside: one.row === two.row && two.at - one.at === 1 };
    if (!wire.beside) {
      one.bottom.push([two, wire, "from"]);
      (one.row === two.row ? two.bottom : two.top).push([one, wire, "to"]);
    }
    return wire;
  });
  for (const spot of spots.values()) {
    for (const edge of [spot.top, spot.bottom]) {
      edge.sort((a, b) => a[0].x - b[0].x);
      edge.forEach(([, wire, end], index) => (wire[end] = spot.x + (spot.wide * (index + 1)) / (edge.length + 1)));
    }
  }
  const isLast = ({ one, two }) => one.row === two.row && one.row === rows.length - 1;
  const height = rows.length * (HIGH + below) - (wires.some(isLast) ? 4 : below - 8);
  const picture = canvas(width, height, "Topology", width > place.clientWidth ? { class: "broad", width, height } : {});
  const labels = [];
  const free = (x, y, wide) => !labels.some((other) => Math.abs(other.y - y) < 12 && Math.abs(other.x - x) < (other.wide + wide) / 2);
  for (const { link, one, two, beside, from, to } of wires) {
    const [low, high] = [one.y + HIGH, two.y];
    let d = `M${from} ${low} L${to} ${high}`, middle = [(from + to) / 2, (low + high) / 2];
    if (beside) {
      const y = one.y + HIGH / 2;
      d = `M${one.x + one.wide} ${y} L${two.x} ${y}`;
      middle = [(one.x + one.wide + two.x) / 2, one.y + HIGH + 13];
    } else if (one.row === two.row) {
      d = `M${from} ${low} C${from} ${low + 30} ${to} ${low + 30} ${to} ${low}`;
      middle = [(from + to) / 2, low + 26];
    }
    picture.append(svg("path", { class: `wire ${link.state}`, d }, svg("title", {}, `${link.label}: ${link.note}`)));
    const what = link.state === "off" ? link.word : link.note;
    if (link.state === "ok") continue;
    const text = fit(`${link.label}: ${what}`, 260), wide = widthOf(text);
    const x = Math.min(Math.max(middle[0], wide / 2), width - wide / 2);
    const y = [4, 17, -9].map((by) => middle[1] + by).find((at) => free(x, at, wide)) ?? middle[1];
    labels.push({ x, y, wide, text, state: link.state });
  }
  for (const node of nodes) {
    const { x, y, wide } = spots.get(node.id);
    picture.append(box(node, x, y, wide));
  }
  picture.append(...labels.map(({ x, y, text, state }) => svg("text", { class: `small middle label ${state}`, x, y }, text)));
  show(place, picture);
}

const SPOKES_DRAWN_MAX = 24;

export function topology(place, model) {
  if (model.links) return graph(place, model.nodes, model.links);
  if (model.ends) return pair(place, model.ends, model.parts);
  let spokes = [...model.parts].filter((part) => !part.isHidden).sort((a, b) => b.rank - a.rank);
  const rest = spokes.length - SPOKES_DRAWN_MAX;
  if (rest > 0) {
    spokes = spokes.slice(0, SPOKES_DRAWN_MAX);
    spokes.push({ id: "", label: `${rest} more`, note: "in the table below", state: "off" });
  }
  star(place, model.hub, spokes);
}
