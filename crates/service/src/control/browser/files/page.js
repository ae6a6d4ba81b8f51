// Asks the program that serves this page, and draws what it says. Nothing is sent but GET.

import { amount, chart, topology } from "./draw.js";
import { model, rates } from "./model.js";

const EVERY_MS = 1000, HISTORY_S = 300, EVENTS_MAX = 100;
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
  const sum = (key) => made.parts.reduce((total, part) => total + part[key], 0);
  state.history.push({ now, into: sum("inRate"), out: sum("outRate"), packets: sum("packetRate"), reasons });
  state.history = state.history.filter((point) => now - point.now <= HISTORY_S + 5);
}

const series = (name, now, value) => ({ name, points: state.history.map((point) => [now - point.now, value(point)]) });

function draw(made, findings, now) {
  at("state").textContent = findings.length ? `${findings.length} ${findings.length === 1 ? "problem" : "problems"}` : "healthy";
  at("state").className = findings.length ? "bad" : "ok";
  health(findings);
  topology(at("topology"), { ...made, parts: made.parts.filter((part) => !part.isHidden) });
  const isNat = made.parts.some((part) => part.inPackets !== undefined);
  const lines = isNat
    ? [series("packets", now, (point) => point.packets)]
    : [series("in", now, (point) => point.into), series("out", now, (point) => point.out)];
  chart(at("throughput"), { title: "Throughput", unit: isNat ? "packets/s" : "bit/s", seconds: HISTORY_S, series: lines });
  const seen = {};
  for (const point of state.history) for (const [why, rate] of Object.entries(point.reasons)) seen[why] = Math.max(seen[why] ?? 0, rate);
  const top = Object.entries(seen).filter(([, rate]) => rate > 0).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([why]) => why);
  const drops = top.map((why) => series(why, now, (point) => point.reasons[why] ?? 0));
  chart(at("drops"), { title: "Dropped packets", unit: "packets/s", seconds: HISTORY_S, series: drops.length ? drops : [series("none", now, () => 0)] });
  reasons(made);
  parts(made);
}

// Replaces the rows of a list only if they differ: what is focused or selected stays.
function replace(place, rows) {
  const next = element("div", {}, ...rows);
  if (place.innerHTML !== next.innerHTML) place.replaceChildren(...next.childNodes);
}

function health(findings) {
  const rows = findings.map((one) => {
    const row = element("li", {},
      element("p", { class: "what" }, `${one.object ? `${one.object}: ` : ""}${one.message} `, element("span", { class: "code" }, one.code)),
      element("p", {}, one.cause));
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
    element("td", {}, part.label), element("td", { class: rate >= 1 ? "bad" : "" }, why),
    element("td", { class: "number" }, rate.toFixed(1)), element("td", { class: "number" }, String(count)));
  replace(document.querySelector("#reasons tbody"), rows.slice(0, 8).map(row));
}

function parts(made) {
  const { key, down } = state.sort;
  const shown = made.parts.filter((part) => !part.isHidden);
  shown.sort((a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0) * (down ? -1 : 1) || (a.label < b.label ? -1 : 1));
  const row = (part) => element("tr", {},
    element("td", {}, part.label), element("td", { class: part.state }, part.word),
    element("td", { class: "number" }, amount(part.inRate, "bit/s")), element("td", { class: "number" }, amount(part.outRate, "bit/s")),
    element("td", { class: "number" }, part.dropRate.toFixed(1)), element("td", {}, part.note));
  replace(document.querySelector("#parts tbody"), shown.slice(0, 500).map(row));
  for (const button of document.querySelectorAll("#parts th button")) {
    const sorted = button.dataset.key === key ? (down ? "descending" : "ascending") : "none";
    button.parentElement.setAttribute("aria-sort", sorted);
  }
}

function follow() {
  const source = new EventSource("/events?after=0");
  source.onmessage = ({ data }) => {
    const { event, time_s, seq, ...rest } = JSON.parse(data);
    if (event === "start" || event === "alive") return;
    const text = rest.message ?? Object.entries(rest).map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
    const when = new Date((time_s ?? Date.now() / 1000) * 1000);
    const row = element("li", {}, element("time", { datetime: when.toISOString() }, when.toLocaleTimeString()), `${event}: ${text}`);
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
