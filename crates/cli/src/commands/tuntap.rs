//! `adit tuntap`: the syntax of `ip tuntap`.

use crate::commands::dev::find::find;
use crate::commands::dev::{add, holders, model, values};
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::Netlink;
use adit_device::{IfName, Mode, NamePattern};
use adit_service::error::{Error, Kind, Result};
use adit_service::host::action::{Action, OpenDevice};
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::text::clean;
use schemars::JsonSchema;
use serde::Serialize;

const WORDS: &str = "\
Words, in any order:
  [dev] NAME       the device; for 'add' also a pattern such as 'tap%d'
  mode tun|tap     packets or frames; optional if the name begins with the mode
  user USER        the user allowed to attach, by name or number
  group GROUP      the group allowed to attach, by name or number
  pi               prefix each packet with 4 bytes of packet information
  vnet_hdr         prefix each packet with a virtio-net header
  multi_queue      allow several queues
  one_queue        accepted and ignored, as in Linux since 3.8";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = WORDS)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Create a persistent device
    #[command(after_help = WORDS)]
    Add(Words),
    /// Make a device transient: it disappears when no program holds it
    #[command(after_help = WORDS)]
    Del(Words),
    /// List the devices
    #[command(visible_aliases = ["list", "ls", "lst"], after_help = WORDS)]
    Show(Words),
}

#[derive(Debug, Default, clap::Args)]
struct Words {
    /// The words listed below
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// The parsed words.
#[derive(Debug, Default)]
struct Wanted {
    name: Option<NamePattern>,
    mode: Option<Mode>,
    user: Option<adit_runtime::text::user::User>,
    group: Option<adit_runtime::text::user::Group>,
    pi: bool,
    vnet_hdr: bool,
    multi_queue: bool,
}

/// One device as `ip -d -j tuntap` shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit tuntap show: one device")]
pub(crate) struct Entry {
    ifname: String,
    /// `tun` or `tap`, then what is on of `pi`, `vnet_hdr`, `multi_queue`, `persist`.
    flags: Vec<String>,
    /// The owner's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    /// The group's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    /// The processes that hold it.
    processes: Vec<Process>,
}

/// A process that holds a device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Process {
    name: String,
    pid: u32,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self.verb {
            Some(Verb::Add(words)) => Wanted::parse(words)?.add(context),
            Some(Verb::Del(words)) => Wanted::parse(words)?.del(context),
            Some(Verb::Show(words)) => Wanted::parse(words)?.show(context),
            None => Wanted::default().show(context),
        }
    }
}

impl Wanted {
    fn parse(words: Words) -> Result<Self> {
        let mut wanted = Self::default();
        let mut words = words.words.into_iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| Error::usage(format!("'{word}' needs a value")));
            match word.as_str() {
                "mode" => once(&mut wanted.mode, "mode", mode(&value()?)?)?,
                "user" => {
                    let user = value()?;
                    let parsed = user.parse().map_err(|why: String| bad("user", &user, &why))?;
                    once(&mut wanted.user, "user", parsed)?;
                }
                "group" => {
                    let group = value()?;
                    let parsed = group.parse().map_err(|why: String| bad("group", &group, &why))?;
                    once(&mut wanted.group, "group", parsed)?;
                }
                "pi" => wanted.pi = true,
                "vnet_hdr" => wanted.vnet_hdr = true,
                "multi_queue" => wanted.multi_queue = true,
                "one_queue" => {}
                "dev" | "name" => once(&mut wanted.name, "dev", name(&value()?)?)?,
                _ => once(&mut wanted.name, "dev", name(&word)?)?,
            }
        }
        wanted.mode = wanted.mode.or_else(|| wanted.mode_of_name());
        Ok(wanted)
    }

    /// Like `ip`: a name that begins with `tun` or `tap` gives the mode.
    fn mode_of_name(&self) -> Option<Mode> {
        let name = self.name.as_ref()?.as_bytes();
        match name.get(..3)? {
            b"tun" => Some(Mode::Tun),
            b"tap" => Some(Mode::Tap),
            _ => None,
        }
    }

    fn required_mode(&self) -> Result<Mode> {
        self.mode.ok_or_else(|| Error::usage("the mode is missing: 'mode tun' or 'mode tap'"))
    }

    fn add(self, context: &Context) -> Result<Exit> {
        let mode = self.required_mode()?;
        let name = self.name.unwrap_or_default();
        let mut actions = vec![Action::OpenDevice(OpenDevice {
            packet_info: self.pi,
            vnet_hdr: self.vnet_hdr,
            multi_queue: self.multi_queue,
            ..OpenDevice::new(mode, name, true)
        })];
        actions.extend(add::access(self.user, self.group)?);
        actions.push(Action::SetPersistent(true));
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let info = add::create(&actions)?;
        if context.output.json {
            add::print_device(context, info.index)?;
        } else if name.exact().is_none() {
            context.output.line(info.name)?;
        }
        Ok(Exit::Ok)
    }

    fn del(self, context: &Context) -> Result<Exit> {
        let name = self.name.and_then(|name| name.exact());
        let name = name.ok_or_else(|| Error::usage("the device is missing: 'dev NAME'"))?;
        let mode = self.required_mode()?;
        let (link, info, tun) = find(name)?;
        if tun.mode != mode {
            let message = format!("{name} is a {} device, not {mode}", tun.mode);
            return Err(Error::new(Kind::Conflict, &adit_service::error::NOT_A_DEVICE, message)
                .object(name)
                .hint(format!("Use 'mode {}'.", tun.mode)));
        }
        let action = Action::SetPersistent(false);
        if context.is_rehearsal(std::slice::from_ref(&action))? {
            return Ok(Exit::Ok);
        }
        HostExecutor::on(link).perform(&action)?;
        if context.output.json {
            let gone = model::Deleted { ifindex: info.index.get(), ifname: info.name.to_string() };
            context.output.value(&[gone])?;
        }
        Ok(Exit::Ok)
    }

    fn show(self, context: &Context) -> Result<Exit> {
        let only = self.name.and_then(|name| name.exact());
        let entries = entries(only.as_ref(), self.mode)?;
        let output = &context.output;
        if output.json {
            output.value(&entries)?;
            return Ok(Exit::Ok);
        }
        for entry in entries {
            let mut line = format!("{}: {}", entry.ifname, entry.flags.join(" "));
            if let Some(user) = entry.user {
                line.push_str(&format!(" user {user}"));
            }
            if let Some(group) = entry.group {
                line.push_str(&format!(" group {group}"));
            }
            output.line(line)?;
            if output.verbose > 0 {
                let processes = entry.processes.iter();
                let names = processes.map(|p| format!(" {}({})", clean(&p.name), p.pid));
                output
                    .line(format_args!("\tAttached to processes:{}", names.collect::<String>()))?;
            }
        }
        Ok(Exit::Ok)
    }
}

fn entries(only: Option<&IfName>, mode: Option<Mode>) -> Result<Vec<Entry>> {
    if let Some(name) = only {
        // A missing device, or one of another kind, is an error; an empty list would hide that.
        find(name)?;
    }
    let failed = |error| Error::io("list", "the interfaces", &error);
    let links = Netlink::open().and_then(|mut netlink| netlink.links()).map_err(failed)?;
    let mut holders = holders::find(only);
    let mut entries = Vec::new();
    for link in links {
        let Some(tun) = link.tun else { continue };
        if only.is_some_and(|only| *only != link.name)
            || (only.is_none() && mode.is_some_and(|mode| mode != tun.mode))
        {
            continue;
        }
        let flags = [
            (true, if tun.mode == Mode::Tun { "tun" } else { "tap" }),
            (tun.pi, "pi"),
            (tun.multi_queue, "multi_queue"),
            (tun.vnet_hdr, "vnet_hdr"),
            (tun.persist, "persist"),
        ];
        let ifname = link.name.to_string();
        let held = holders.by_device.remove(&ifname).unwrap_or_default();
        entries.push(Entry {
            flags: flags.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).into()).collect(),
            user: tun.owner,
            group: tun.group,
            processes: held
                .into_iter()
                .map(|holder| Process { name: holder.command, pid: holder.pid })
                .collect(),
            ifname,
        });
    }
    Ok(entries)
}

fn mode(text: &str) -> Result<Mode> {
    match text {
        "tun" => Ok(Mode::Tun),
        "tap" => Ok(Mode::Tap),
        _ => Err(bad("mode", text, "expected 'tun' or 'tap'")),
    }
}

fn name(text: &str) -> Result<NamePattern> {
    values::pattern(text).map_err(|error| bad("dev", text, &error.to_string()))
}

fn bad(word: &str, value: &str, why: &str) -> Error {
    Error::usage(format!("invalid value '{value}' for '{word}': {why}"))
}

/// Stores a value unless the word was given before.
fn once<T>(slot: &mut Option<T>, word: &str, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::usage(format!(
            "'{word}' is given twice; the words are dev, mode, user, group, pi, vnet_hdr, \
             multi_queue, one_queue"
        ))),
    }
}
