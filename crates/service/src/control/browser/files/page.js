// Asks the program that serves this page, and draws what it says. Nothing is sent but GET.

import { amount, chart, topology } from "./draw.js";
import { isWanted, lines, model, rates } from "./model.js";

const EVERY_MS = 1000, HISTORY_S = 300, EVENTS_MAX = 100, LINES_MAX = 3;
const at = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

async function ask(path) {
  const reply = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  const body = await reply.json();
  if (!reply.ok && reply.status !== 503) throw new Error(body.message ?? body.error?.message ?? reply.statusText);
  return body;
}

const state = { about: null, before: null, beforeAt: 0, history: [], sort: { key: "rank", down: true } };

async function look() {
  try {
    state.about ??= await ask("/");
    const { kind, name } = state.about;
    const [report, health] = await Promise.all([ask(`/${kind}`), ask("/health")]);
    const now = performance.now() / 1000;
    const made = model(kind, report, health.findings);
    rates(made, state.before, now - state.beforeAt);
    if (state.before) note(made, now);
    [state.before, state.beforeAt] = [made, now];
    document.title = `${health.findings.length ? `(${health.findings.length}) ` : ""}${name} \u2013 adit`;
    at("name").textContent = name;
    at("about").textContent = `${kind}, adit ${state.about.version}, process ${state.about.pid}`;
    draw(made, health.findings, now);
  } catch (error) {
    at("state").textContent = `no answer: ${error.message}`;
    at("state").className = "bad";
    state.about = null;
  }
  setTimeout(look, document.hidden ? 10 * EVERY_MS : EVERY_MS);
}

// Keeps a point of each line of the charts.
function note(made, now) {
  const reasons = {};
  for (const part of made.parts) {
    for (const [why, rate] of Object.entries(part.dropRates)) reasons[why] = (reasons[why] ?? 0) + rate;
  }
  state.history.push({ now, rates: lines(made), reasons });
  state.history = state.history.filter((point) => now - point.now <= HISTORY_S + 5);
}

// The lines of a chart: those with the highest peaks, if there are many.
function series(now, of) {
  const peaks = {};
  for (const point of state.history) for (const [name, rate] of Object.entries(point[of])) peaks[name] = Math.max(peaks[name] ?? 0, rate);
  let names = Object.keys(peaks);
  if (of === "reasons") names = names.filter((name) => peaks[name] > 0);
  if (names.length > LINES_MAX) names = names.sort((a, b) => peaks[b] - peaks[a]).slice(0, LINES_MAX);
  return names.map((name) => ({ name, points: state.history.map((point) => [now - point.now, point[of][name] ?? 0]) }));
}

function draw(made, findings, now) {
  at("state").textContent = findings.length ? `${findings.length} ${findings.length === 1 ? "problem" : "problems"}` : "healthy";
  at("state").className = findings.length ? "bad" : "ok";
  document.body.dataset.kind = state.about.kind;
  health(findings);
  topology(at("topology"), made);
  const seconds = state.history.length && now - state.history[0].now > 60 ? HISTORY_S : 60;
  chart(at("throughput"), { title: "Throughput", unit: "bit/s", seconds, series: series(now, "rates") });
  const drops = series(now, "reasons");
  chart(at("drops"), { title: "Dropped packets", unit: "packets/s", seconds, series: drops.length ? drops : [{ name: "none", points: [] }] });
  reasons(made);
  parts(made);
}

// Replaces the rows of a list only if they differ: what is focused or selected stays.
function replace(place, rows) {
  const next = element("div", {}, ...rows);
  if (place.innerHTML !== next.innerHTML) place.replaceChildren(...next.childNodes);
}

// Findings with the same cause and remedy share one entry.
function health(findings) {
  const groups = new Map();
  for (const one of findings) {
    const key = JSON.stringify([one.code, one.cause, one.remedy]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const rows = [...groups.values()].map((group) => {
    const [one] = group;
    const whats = group.map((of) => element("p", { class: "what" }, `${of.object ? `${of.object}: ` : ""}${of.message} `, element("span", { class: "code" }, of.code)));
    const row = element("li", {}, ...whats, element("p", {}, one.cause));
    if (one.remedy) row.append(element("p", {}, element("strong", {}, "Remedy: "), one.remedy));
    for (const [, command] of (one.remedy ?? "").matchAll(/'([^']+)'/g)) {
      row.append(element("div", { class: "command" }, element("code", {}, command), element("button", { type: "button", "data-copy": command }, "Copy")));
    }
    return row;
  });
  replace(at("findings"), rows.length ? rows : [element("li", { class: "ok" }, "No problem was found.")]);
}

function reasons(made) {
  const rows = made.parts.flatMap((part) => Object.entries(part.drops).filter(([, count]) => count > 0).map(([why, count]) => ({ part, why, count, rate: part.dropRates[why] })));
  rows.sort((a, b) => b.rate - a.rate || b.count - a.count);
  const row = ({ part, why, count, rate }) => element("tr", {},
    element("td", {}, part.label), element("td", { class: rate >= 1 && !isWanted(part, why) ? "bad" : "" }, why),
    element("td", { class: "number" }, rate.toFixed(1)), element("td", { class: "number" }, String(count)));
  at("reasons").hidden = !rows.length;
  replace(document.querySelector("#reasons tbody"), rows.slice(0, 8).map(row));
}

function parts(made) {
  const { key, down } = state.sort;
  const shown = made.parts.filter((part) => !part.isHidden && !part.isRowHidden);
  shown.sort((a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0) * (down ? -1 : 1) || (a.label < b.label ? -1 : 1));
  const bits = (bytes, rate) => element("td", { class: "number" }, bytes === undefined ? "\u2013" : amount(rate, "bit/s"));
  const row = (part) => element("tr", {},
    element("td", {}, part.label), element("td", { class: part.state }, part.word),
    bits(part.inBytes, part.inRate), bits(part.outBytes, part.outRate),
    element("td", { class: "number" }, part.dropRate.toFixed(1)), element("td", {}, part.note));
  replace(document.querySelector("#parts tbody"), shown.slice(0, 500).map(row));
  at("parts-title").textContent = made.title;
  for (const button of document.querySelectorAll("#parts th button")) {
    const way = ["inRate", "outRate"].indexOf(button.dataset.key);
    if (way >= 0) button.textContent = made.ways[way];
    const sorted = button.dataset.key === key ? (down ? "descending" : "ascending") : "none";
    button.parentElement.setAttribute("aria-sort", sorted);
  }
}

function follow() {
  const source = new EventSource("/events?after=0");
  source.onmessage = ({ data }) => {
    const { event, time_s, seq, ...rest } = JSON.parse(data);
    if (event === "start" || event === "alive") return;
    const shown = Object.entries(rest).filter(([, value]) => value !== null && value.length !== 0);
    const text = rest.message ?? `${event}: ${shown.map(([key, value]) => `${key} ${Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : value}`).join(", ")}`;
    const when = new Date((time_s ?? Date.now() / 1000) * 1000);
    const row = element("li", {}, element("time", { datetime: when.toISOString() }, when.toLocaleTimeString()), text);
    at("events").prepend(row);
    while (at("events").childElementCount > EVENTS_MAX) at("events").lastElementChild.remove();
  };
}

document.addEventListener("click", async ({ target }) => {
  if (target.dataset?.copy !== undefined) {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(target.dataset.copy);
    } catch {
      // Without the right to write to the clipboard the command is selected for the user to copy.
      getSelection().selectAllChildren(target.previousElementSibling);
      done = "Selected";
    }
    at("state").textContent = `${done}: ${target.dataset.copy}`;
  } else if (target.dataset?.key) {
    const { key, down } = state.sort;
    state.sort = { key: target.dataset.key, down: target.dataset.key === key ? !down : target.dataset.key !== "label" };
    if (state.before) parts(state.before);
  }
});

look();
follow();
