//! A switch, its ports and its addresses for people.

use crate::output::{Output, Tone, clean, table};
use crate::show::link;
use adit_service::switch::model;

/// A switch for people.
pub(crate) fn switch(output: &Output, show: &model::Switch) -> String {
    let mut lines = vec![format!(
        "{} (pid {}): {} of {} addresses, kept for {} s{}",
        output.paint(Tone::Name, clean(&show.name)),
        show.pid,
        show.fdb_entries,
        show.fdb_limit,
        show.ageing_s,
        if show.loop_guard { "" } else { ", no loop guard" }
    )];
    let head = ["PORT", "STATE", "VLAN", "MACS", "IN", "DROPPED", "OUT", "DROPPED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for port in &show.ports {
        rows.push(vec![
            clean(&port.name),
            port.state.as_str().to_owned(),
            port.vlan.text(),
            port.fdb_entries.to_string(),
            port.ingress.frames.to_string(),
            port.ingress.dropped().to_string(),
            port.egress.frames.to_string(),
            port.egress.dropped().to_string(),
        ]);
    }
    lines.extend(table(&rows));
    lines.extend(show.kernel.iter().flat_map(kernel));
    lines.extend(show.sandbox.as_ref().map(|sandbox| format!("sandbox: {sandbox}")));
    if show.ports.iter().any(|port| port.netem.is_some()) {
        lines.push(format!("emulated links: seed {}", show.seed));
    }
    for port in &show.ports {
        if let Some(reason) = &port.reason {
            let (name, state) = (clean(&port.name), port.state.as_str());
            lines.push(format!("{name} is {state}: {}", clean(reason)));
        }
    }
    for mirror in &show.mirrors {
        let of =
            if mirror.ports.is_empty() { "all ports".to_owned() } else { mirror.ports.join(", ") };
        let missed = match mirror.missed {
            0 => String::new(),
            count => format!(", {count} missed"),
        };
        lines.push(format!(
            "mirror of {} ({}) to {}: {} frames{missed}",
            clean(&of),
            mirror.direction,
            clean(&mirror.to),
            mirror.frames
        ));
    }
    if let Some(file) = show.file.as_ref().filter(|_| !show.unsaved.is_empty()) {
        lines.push(format!("not in {} ('adit switch save' writes it):", clean(file)));
        lines.extend(show.unsaved.iter().map(|change| format!("  {}", clean(change))));
    }
    lines.join("\n")
}

/// What the kernel forwards, and for which interfaces it does not.
fn kernel(kernel: &model::Kernel) -> Vec<String> {
    if let Some(failure) = &kernel.failure {
        return vec![format!("the kernel does not forward: {}", clean(failure))];
    }
    let model::Kernel { ports, addresses, frames, .. } = kernel;
    let between: Vec<String> = ports.iter().map(|port| clean(port)).collect();
    let between = between.join(", ");
    let forwards = (!ports.is_empty()).then(|| {
        format!(
            "the kernel forwards between {between}: {addresses} addresses, {frames} frames so far"
        )
    });
    // One alone cannot have been meant to.
    let is_one = ports.is_empty() && kernel.left_out.len() == 1;
    let left_out = kernel.left_out.iter().filter(|_| !is_one);
    let left_out = left_out.map(|model::LeftOut { port, why }| {
        format!("the kernel does not forward for {}: {}", clean(port), clean(why))
    });
    forwards.into_iter().chain(left_out).collect()
}

/// A port for people.
pub(crate) fn port(output: &Output, port: &model::Port) -> String {
    let mut lines =
        vec![format!("{}: {}", output.paint(Tone::Name, clean(&port.name)), port.state.as_str())];
    if let Some(reason) = &port.reason {
        lines.push(format!("  reason     {}", clean(reason)));
    }
    lines.push(format!("  port       {}", clean(&port.port)));
    if let Some(mtu) = port.mtu {
        lines.push(format!("  mtu        {mtu}"));
    }
    lines.push(format!("  vlan       {}", port.vlan.text()));
    let mut words = Vec::new();
    words.extend(port.flags.on().map(str::to_owned));
    words.extend(port.split_horizon.map(|group| format!("split horizon {group}")));
    if !words.is_empty() {
        lines.push(format!("  flags      {}", words.join(", ")));
    }
    lines.push(format!("  addresses  {} of {}", port.fdb_entries, port.fdb_limit));
    lines.extend(port.guard.text().map(|guards| format!("  guards     {guards}")));
    lines.extend(port.storm.text().map(|storms| format!("  storms     at most {storms}")));
    if let Some(links) = &port.link {
        let text = link::of_port(&clean(&port.name), links);
        lines.extend(text.into_iter().map(|line| format!("  {line}")));
    }
    for (name, counters) in [("in", &port.ingress), ("out", &port.egress)] {
        let drops = counters.drops.iter().map(|(why, count)| format!("; {count} dropped: {why}"));
        lines.push(format!(
            "  {name:<10} {} {}, {} bytes{}",
            counters.frames,
            if counters.frames == 1 { "frame" } else { "frames" },
            counters.bytes,
            drops.collect::<String>()
        ));
    }
    lines.join("\n")
}

/// Addresses for people; who forwards for them, if the kernel does for some.
pub(crate) fn fdb(list: &[model::Address]) -> String {
    let is_shared = list.iter().any(|entry| entry.kernel);
    let row = |words: [&str; 6]| -> Vec<String> {
        let count = if is_shared { words.len() } else { words.len() - 1 };
        words.iter().take(count).map(|&word| word.to_owned()).collect()
    };
    let mut rows = vec![row(["ADDRESS", "VLAN", "PORT", "KIND", "AGE", "FORWARDED BY"])];
    for entry in list {
        let vlan = entry.vlan.map_or("-".to_owned(), |vlan| vlan.to_string());
        let age = entry.age_s.map_or("-".to_owned(), |age| format!("{age} s"));
        let by = if entry.kernel { "kernel" } else { "adit" };
        rows.push(row([&entry.mac, &vlan, &clean(&entry.port), &entry.kind, &age, by]));
    }
    table(&rows).join("\n")
}
