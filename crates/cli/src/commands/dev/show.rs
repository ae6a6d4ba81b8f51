//! `adit dev show`.

use crate::commands::dev::list;
use crate::commands::dev::model::{Device, Stats};
use crate::commands::dev::values::AnyName;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use adit_service::error::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The device; all are listed without it
    name: Option<AnyName>,
    /// Show counters too
    #[arg(short, long)]
    stats: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let devices = match &self.name {
            Some(name) => vec![list::one(name, self.stats)?],
            None => list::all(self.stats)?,
        };
        if output.json {
            output.value(&devices)?;
        } else if self.name.is_some() {
            for device in &devices {
                detail(output, device)?;
            }
        } else {
            brief(output, &devices)?;
        }
        Ok(Exit::Ok)
    }
}

/// Prints one line for each device.
fn brief(output: &Output, devices: &[Device]) -> Result<()> {
    if devices.is_empty() {
        output.note("no TUN or TAP devices");
        return Ok(());
    }
    let heads = ["NAME", "MODE", "STATE", "MTU", "USER", "ADDRESSES", "HELD BY"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for device in devices {
        let data = &device.linkinfo.info_data;
        let user = data.user.as_ref().map_or_else(|| "-".into(), |user| clean(&user.to_string()));
        rows.push(vec![
            device.ifname.clone(),
            data.r#type.clone(),
            state(device).to_owned(),
            device.mtu.to_string(),
            user,
            or_dash(
                device.addr_info.iter().map(|addr| format!("{}/{}", addr.local, addr.prefixlen)),
            ),
            or_dash(holders(device).chain(unseen(device).map(str::to_owned))),
        ]);
    }
    for (number, line) in table(&rows).into_iter().enumerate() {
        let line = if number == 0 { output.paint(Tone::Faint, line) } else { line };
        output.line(line)?;
    }
    if devices.iter().any(|device| unseen(device).is_some()) {
        output.note(format_args!("HELD BY {UNSEEN}: {WHY_UNSEEN}"));
    }
    // Counters have too many columns for the table.
    for device in devices.iter().filter(|device| device.stats64.is_some()) {
        output.line(format_args!("\n{}", output.paint(Tone::Name, &device.ifname)))?;
        stats(output, device.stats64.as_ref())?;
    }
    Ok(())
}

fn or_dash(words: impl Iterator<Item = String>) -> String {
    let text = words.collect::<Vec<_>>().join(" ");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn holders(device: &Device) -> impl Iterator<Item = String> {
    device.holders.iter().map(|holder| format!("{}({})", clean(&holder.command), holder.pid))
}

/// In place of holders that are not visible.
const UNSEEN: &str = "?";

/// Why they are not.
const WHY_UNSEEN: &str = "processes of other users may hold it; only root sees them";

/// A mark if no holder is visible, and there may be one.
fn unseen(device: &Device) -> Option<&'static str> {
    let data = &device.linkinfo.info_data;
    // A device that is up has a carrier if a program holds it; a multi-queue device counts its queues.
    let is_free = state(device) == "no-carrier"
        || matches!((data.numqueues, data.numdisabled), (Some(0), Some(0)));
    (device.holders_partial && device.holders.is_empty() && !is_free).then_some(UNSEEN)
}

fn state(device: &Device) -> &'static str {
    let has = |word| device.flags.iter().any(|flag| flag == word);
    match (has("UP"), has("LOWER_UP")) {
        (true, true) => "up",
        (true, false) => "no-carrier",
        (false, _) => "down",
    }
}

/// Prints everything known about one device.
fn detail(output: &Output, device: &Device) -> Result<()> {
    let data = &device.linkinfo.info_data;
    let name = output.paint(Tone::Name, &device.ifname);
    let tone = if state(device) == "up" { Tone::Good } else { Tone::Faint };
    let head = output.paint(tone, state(device));
    output
        .line(format_args!("{name}: {} device, {head}, index {}", data.r#type, device.ifindex))?;
    let on = |on: bool| if on { "on" } else { "off" };
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    row("flags", device.flags.join(","));
    row("mtu", format!("{} ({} to {})", device.mtu, device.min_mtu, device.max_mtu));
    row("queue", format!("{} packets, {}", device.txqlen, device.qdisc.as_deref().unwrap_or("-")));
    if let Some(address) = &device.address {
        row("mac", address.clone());
    }
    if let Some(master) = &device.master {
        row("master", master.clone());
    }
    if let Some(alias) = &device.ifalias {
        row("alias", clean(alias));
    }
    if !device.altnames.is_empty() {
        row("altnames", clean(&device.altnames.join(" ")));
    }
    row("persist", on(data.persist).to_owned());
    let id = |id: &Option<crate::commands::dev::model::Id>| {
        id.as_ref().map_or_else(|| "-".to_owned(), |id| clean(&id.to_string()))
    };
    row("user", id(&data.user));
    row("group", id(&data.group));
    row("pi", on(data.pi).to_owned());
    row("vnet_hdr", on(data.vnet_hdr).to_owned());
    row(
        "multi_queue",
        match (data.numqueues, data.numdisabled) {
            (Some(on), Some(off)) => format!("on: {on} attached, {off} disabled"),
            _ => on(data.multi_queue).to_owned(),
        },
    );
    for addr in &device.addr_info {
        let flags = addr.flags.words().join(" ");
        row(addr.family, format!("{} scope {} {flags}", addr.text(), addr.scope));
    }
    for holder in &device.holders {
        let fds = holder.fds.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let command = clean(&holder.command);
        row("held by", format!("{command}, process {}, descriptors {fds}", holder.pid));
    }
    if let Some(mark) = unseen(device) {
        row("held by", format!("{mark}: {WHY_UNSEEN}"));
    }
    for [name, value] in rows {
        output.line(format_args!("  {name:<12} {}", value.trim_end()))?;
    }
    stats(output, device.stats64.as_ref())
}

fn stats(output: &Output, stats: Option<&Stats>) -> Result<()> {
    let Some(Stats { rx, tx }) = stats else { return Ok(()) };
    // The kernel counts packets written by the program as received.
    let heads = ["", "bytes", "packets", "errors", "dropped"];
    let row = |name: &str, counters: [u64; 4]| {
        let mut row = vec![format!("  {name}")];
        row.extend(counters.map(|counter| counter.to_string()));
        row
    };
    let rows = [
        heads.map(str::to_owned).to_vec(),
        row("rx (from its program)", [rx.bytes, rx.packets, rx.errors, rx.dropped]),
        row("tx (to its program)", [tx.bytes, tx.packets, tx.errors, tx.dropped]),
    ];
    for line in table(&rows) {
        output.line(line)?;
    }
    Ok(())
}
