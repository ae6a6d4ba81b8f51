// Reports of each kind of program in one form:
// {title, ways: [in, out], hub: {id, label, note}, parts: [{id, label, state, word, note, inBytes, outBytes, drops: {reason: count}}]}
// with `brief` (a shorter note for the picture), `isEmulated` (what is dropped was asked for), `isHidden` (no row, no box) and `side` (of the hub) of a part.
// An emulated link has `ends`, a lab `nodes` and `links`.

const RANK = { bad: 3, warn: 2, off: 1, ok: 0 };

// Drops that were asked for, as health.rs has them.
const WANTED = ["filtered", "isolated", "reserved address", "mac guard", "ip guard", "arp guard", "nd guard", "dhcp guard", "ra guard", "loss", "outage", "same port", "multicast"];

export const isWanted = (part, why) => part.isEmulated || WANTED.includes(why) || why.endsWith("(netem)");

// "3 min" for seconds.
export function age(seconds) {
  if (seconds === undefined || seconds === null) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

// "1 flow", "2 flows".
const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
const joined = (...parts) => parts.filter(Boolean).join(", ");

const add = (...maps) => {
  const sum = {};
  for (const map of maps) for (const [why, number] of Object.entries(map ?? {})) sum[why] = (sum[why] ?? 0) + number;
  return sum;
};
const listed = (drops) => Object.fromEntries((drops ?? []).map(({ reason, count: number }) => [reason, number]));

// What an emulated link dropped, by the reasons that /metrics has.
function lost(counts, more = "") {
  const reasons = { loss: "lost", outage: "outage", "queue full": "queue_full", "queue managed": "queue_managed", limit: "limit", "no buffer": "no_buffer", malformed: "malformed" };
  return Object.fromEntries(Object.entries(reasons).map(([why, key]) => [why + more, counts?.[key] ?? 0]));
}

const STATES = { forwarding: "ok", listening: "off", mirror: "off", down: "bad", blocked: "bad", gone: "bad" };

// "VLAN 10", "trunk 20-29"; nothing for a port that carries every VLAN.
function vlans({ mode, vlan, tagged, untagged }) {
  if (mode === "trunk") return `trunk ${[...tagged, ...untagged].join(" ")}`;
  return { access: `VLAN ${vlan}`, tunnel: `Q-in-Q ${vlan}` }[mode] ?? "";
}

function ofSwitch(report) {
  const parts = report.ports.map((port) => {
    const netem = port.link && add(lost(port.link.ingress?.counts, " (netem)"), lost(port.link.egress?.counts, " (netem)"));
    return {
      id: port.name, label: port.name, state: STATES[port.state] ?? "off", word: port.state,
      note: port.reason ?? joined(port.state === "forwarding" ? "" : port.state, vlans(port.vlan), count(port.fdb_entries, "address", "addresses"), netem && "netem"),
      inBytes: port.ingress.bytes, outBytes: port.egress.bytes, drops: add(port.ingress.drops, port.egress.drops, netem),
    };
  });
  return { title: "Ports", ways: ["Ingress", "Egress"], hub: { id: report.name, label: report.name, note: count(report.fdb_entries, "address", "addresses") }, parts };
}

function ofNetem(report) {
  const [a, b] = report.ports;
  const ends = [a, b].map((end) => ({ id: end.name, label: end.name, state: end.gone ? "bad" : "ok", word: end.gone ? "gone" : "up", note: end.gone ? `gone: ${end.gone}` : "" }));
  const part = (key, from, to) => {
    const { counts, delay } = report[key];
    const profile = Object.entries(report.asked[key]).map(([name, value]) => `${name} ${value}`);
    const measured = delay?.count ? `measured delay ${delay.p50_ms.toFixed(1)} ms (median), ${delay.p99_ms.toFixed(1)} ms (p99)` : "";
    return {
      id: key, label: `${from.name} \u2192 ${to.name}`, state: from.gone || to.gone ? "bad" : "ok", word: from.gone || to.gone ? "down" : "up",
      profile: profile.length ? profile : ["no effects"], note: joined(profile.join(", ") || "no effects", measured),
      inBytes: counts.received_bytes, outBytes: counts.delivered_bytes, drops: lost(counts), isEmulated: true,
    };
  };
  return { title: "Directions", ways: ["Sent", "Delivered"], ends, parts: [part("a_to_b", a, b), part("b_to_a", b, a)], lines: (one) => one.outRate };
}

// A peer that runs answers after 10 s, as /health counts too.
const SILENT_S = 15;

function ofTunnel(report) {
  const parts = report.peers.map((peer) => {
    const heard = peer.authentic_age_s;
    const isSilent = (peer.unanswered_s ?? 0) >= SILENT_S;
    const [state, word] = isSilent ? ["bad", "silent"] : peer.connected ? ["ok", "connected"] : heard === undefined ? ["off", "not seen yet"] : ["off", "idle"];
    const name = peer.endpoint_name ?? peer.endpoint ?? peer.allowed_ips[0] ?? "";
    return {
      id: peer.public_key.slice(0, 8), label: `${peer.public_key.slice(0, 8)}\u2026 ${name}`, state, word,
      brief: isSilent ? `silent for ${age(peer.unanswered_s)}` : heard === undefined ? word : `${word}, ${age(heard)} ago`,
      note: `last packet ${heard === undefined ? "never" : `${age(heard)} ago`}`,
      inBytes: peer.received_bytes, outBytes: peer.sent_bytes, drops: listed(peer.drops),
    };
  });
  const own = { id: "", label: "no peer", state: "off", word: "", note: "packets of no peer", inBytes: 0, outBytes: 0, drops: listed(report.drops), isHidden: true };
  return { title: "Peers", ways: ["Received", "Sent"], hub: { id: report.ifname, label: report.ifname, note: `UDP ${report.listen_port}` }, parts: [...parts, own] };
}

function ofNat(report) {
  const device = { id: report.device, label: report.device, state: "ok", word: "up", note: report.addresses.join(", "), side: 0, inBytes: report.received_bytes, outBytes: report.sent_bytes, drops: report.dropped };
  const guests = report.guests.map((guest) => ({ id: guest.address, label: guest.address, state: "ok", word: "guest", note: guest.mac, side: 0, drops: {} }));
  const outside = { id: "", label: "Host network", state: "ok", word: "up", note: count(report.flows, "flow"), side: 1, drops: {}, isRowHidden: true };
  const published = report.published.map((one) => ({ id: `${one.transport} ${one.local}`, label: `${one.local}/${one.transport}`, state: "ok", word: "published", note: `to ${one.inside}`, side: 1, drops: {} }));
  return { title: "Inside and published ports", ways: ["From inside", "To inside"], hub: { id: report.name, label: report.name, note: "NAT" }, parts: [device, ...guests, outside, ...published] };
}

function ofLab(report) {
  const nodes = report.nodes.map((node) => {
    const failed = (node.programs ?? []).find((program) => program.state === "failed");
    const [state, word] = node.failed ? ["off", "made to fail"] : failed ? ["bad", `${failed.name} failed`] : ["ok", "up"];
    return { id: node.name, label: node.name, kind: node.kind, state, word, note: word === "up" ? node.kind : word };
  });
  const links = report.links.map((link) => {
    const [a, b] = link.ends.map((end) => end.split(":")[0]);
    const state = { up: "ok", failed: "off", down: "bad" }[link.state];
    return {
      id: link.name, a, b, label: link.name, state, word: link.state === "failed" ? "made to fail" : link.state, note: link.ends.join(" \u2013 "),
      inBytes: link.from_a.bytes, outBytes: link.from_b.bytes, drops: add(link.from_a.drops, link.from_b.drops),
    };
  });
  return { title: "Links", ways: ["A to B", "B to A"], nodes, links, parts: links, lines: (one) => one.inRate + one.outRate };
}

const KINDS = { switch: ofSwitch, netem: ofNetem, tunnel: ofTunnel, nat: ofNat, lab: ofLab };

// The model of a report, with what the health list says of its parts.
export function model(kind, report, findings) {
  const made = KINDS[kind](report);
  for (const part of [...made.parts, ...(made.nodes ?? []), ...(made.ends ?? [])]) {
    const found = findings.find((one) => one.object === part.id);
    if (found && part.id) {
      part.state = "bad";
      part.note = found.message;
    }
    part.rank = RANK[part.state] ?? 0;
  }
  return made;
}

// Adds the rates since an earlier model. What drops packets for a reason that nobody asked for says so.
export function rates(now, before, seconds) {
  const old = new Map((before?.parts ?? []).map((part) => [part.id, part]));
  for (const part of now.parts) {
    const was = old.get(part.id);
    const rate = (next, last) => (was && next !== undefined ? Math.max(next - (last ?? 0), 0) / seconds : 0);
    part.inRate = rate(part.inBytes, was?.inBytes) * 8;
    part.outRate = rate(part.outBytes, was?.outBytes) * 8;
    part.dropRates = {};
    for (const [why, number] of Object.entries(part.drops)) part.dropRates[why] = rate(number, was?.drops[why]);
    part.dropRate = Object.values(part.dropRates).reduce((sum, one) => sum + one, 0);
    const bad = Object.entries(part.dropRates).filter(([why]) => !isWanted(part, why)).sort((a, b) => b[1] - a[1]);
    const most = bad.reduce((sum, [, one]) => sum + one, 0);
    if (most >= 1 && part.state === "ok") {
      [part.state, part.rank] = ["warn", RANK.warn];
      part.note = `drops ${most.toFixed(0)}/s: ${bad[0][0]}`;
    }
  }
}

// The lines of the chart of throughput, in bit/s: of each way, or of each link or direction.
export function lines(made) {
  if (made.lines) return Object.fromEntries(made.parts.map((part) => [part.label, made.lines(part)]));
  const sum = (key) => made.parts.reduce((total, part) => total + part[key], 0);
  return { [made.ways[0]]: sum("inRate"), [made.ways[1]]: sum("outRate") };
}
