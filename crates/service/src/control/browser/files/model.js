// Reports of each kind of program in one form:
// {hub: {id, label, note}, parts: [{id, label, state, word, note, inBytes, outBytes, drops: {reason: count}}], links?, nodes?}

const RANK = { bad: 3, warn: 2, off: 1, ok: 0 };

// "3 min" for seconds.
export function age(seconds) {
  if (seconds === undefined || seconds === null) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

const add = (...maps) => {
  const sum = {};
  for (const map of maps) for (const [why, count] of Object.entries(map ?? {})) sum[why] = (sum[why] ?? 0) + count;
  return sum;
};
const listed = (drops) => Object.fromEntries((drops ?? []).map(({ reason, count }) => [reason, count]));

const STATES = { forwarding: "ok", listening: "off", mirror: "off", down: "bad", blocked: "bad", gone: "bad" };

function ofSwitch(report) {
  const parts = report.ports.map((port) => ({
    id: port.name, label: port.name, state: STATES[port.state] ?? "off", word: port.state,
    note: port.reason ?? `${port.fdb_entries} addresses`,
    inBytes: port.ingress.bytes, outBytes: port.egress.bytes, drops: add(port.ingress.drops, port.egress.drops),
  }));
  return { hub: { id: report.name, label: report.name, note: `switch, ${report.fdb_entries} addresses` }, parts };
}

function ofNetem(report) {
  const way = (key) => Object.entries(report.asked[key]).map(([name, value]) => `${name} ${value}`).join(", ") || "perfect";
  const counts = (key) => report[key].counts;
  const drops = (of) => ({ "queue full": of.queue_full, "by the queue's discipline": of.queue_managed, "lost as asked": of.lost, "in outages": of.outage, "over the link's limits": of.limit });
  const [first, second] = report.ports;
  const part = (end, out, into, note) => ({
    id: end.name, label: end.name, state: end.gone ? "bad" : "ok", word: end.gone ? "gone" : "up", note: end.gone ?? note,
    inBytes: out.received_bytes, outBytes: into.delivered_bytes, drops: drops(out),
  });
  const [ab, ba] = [counts("a_to_b"), counts("b_to_a")];
  return {
    hub: { id: report.name, label: report.name, note: "emulated link" },
    parts: [part(first, ab, ba, `sends with ${way("a_to_b")}`), part(second, ba, ab, `sends with ${way("b_to_a")}`)],
  };
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
      note: `${word}, last packet ${heard === undefined ? "never" : `${age(heard)} ago`}`,
      inBytes: peer.received_bytes, outBytes: peer.sent_bytes, drops: listed(peer.drops),
    };
  });
  const own = { id: "", label: "no peer", state: "off", word: "", note: "packets of no peer", inBytes: 0, outBytes: 0, drops: listed(report.drops), isHidden: true };
  return { hub: { id: report.ifname, label: report.ifname, note: `tunnel, port ${report.listen_port}` }, parts: [...parts, own] };
}

function ofNat(report) {
  const inside = report.guests.map((guest) => ({ id: guest.address, label: guest.address, state: "ok", word: "guest", note: guest.mac, drops: {} }));
  const published = report.published.map((one) => ({ id: `${one.transport} ${one.local}`, label: `${one.local}/${one.transport}`, state: "ok", word: "published", note: `to ${one.inside}`, drops: {} }));
  const device = { id: report.device, label: report.device, state: "ok", word: "up", note: `${report.flows} flows`, inPackets: report.received, outPackets: report.sent, drops: report.dropped };
  return { hub: { id: report.name, label: report.name, note: "NAT to the host's network" }, parts: [device, ...inside, ...published] };
}

function ofLab(report) {
  const nodes = report.nodes.map((node) => {
    const failed = (node.programs ?? []).find((program) => program.state === "failed");
    const [state, word] = node.failed ? ["off", "made to fail"] : failed ? ["bad", `${failed.name} failed`] : ["ok", "up"];
    return { id: node.name, label: node.name, state, word, note: word === "up" ? node.kind : `${node.kind}, ${word}` };
  });
  const links = report.links.map((link) => {
    const [a, b] = link.ends.map((end) => end.split(":")[0]);
    const state = { up: "ok", failed: "off", down: "bad" }[link.state];
    return {
      id: link.name, a, b, label: link.name, state, word: link.state, note: link.state === "up" ? link.ends.join(" \u2013 ") : link.state,
      inBytes: link.from_a.bytes, outBytes: link.from_b.bytes, drops: add(link.from_a.drops, link.from_b.drops),
    };
  });
  return { hub: { id: report.name, label: report.name, note: "lab" }, nodes, links, parts: links };
}

const KINDS = { switch: ofSwitch, netem: ofNetem, tunnel: ofTunnel, nat: ofNat, lab: ofLab };

// The model of a report, with what the health list says of its parts.
export function model(kind, report, findings) {
  const made = KINDS[kind](report);
  for (const part of [...made.parts, ...(made.nodes ?? [])]) {
    const found = findings.find((one) => one.object === part.id);
    if (found && part.id) {
      part.state = "bad";
      part.note = found.message;
    }
    part.rank = RANK[part.state] ?? 0;
  }
  return made;
}

// Adds the rates since an earlier model.
export function rates(now, before, seconds) {
  const old = new Map((before?.parts ?? []).map((part) => [part.id, part]));
  for (const part of now.parts) {
    const was = old.get(part.id);
    const rate = (key) => (was && part[key] !== undefined ? Math.max(part[key] - (was[key] ?? 0), 0) / seconds : 0);
    [part.inRate, part.outRate] = [rate("inBytes") * 8, rate("outBytes") * 8];
    part.packetRate = rate("inPackets") + rate("outPackets");
    part.dropRates = {};
    for (const [why, count] of Object.entries(part.drops)) {
      part.dropRates[why] = was ? Math.max(count - (was.drops[why] ?? 0), 0) / seconds : 0;
    }
    part.dropRate = Object.values(part.dropRates).reduce((sum, one) => sum + one, 0);
    if (part.dropRate >= 1 && part.state === "ok") [part.state, part.rank] = ["warn", RANK.warn];
  }
}
