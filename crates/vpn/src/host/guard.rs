//! What a default route needs of the packet filter, as `wg-quick` sets it.
//!
//! A host answers for each of its addresses on every device: whoever is on its network could send packets
//! to the tunnel's own address, past the tunnel (CVE-2019-14899). They are dropped. And what answers the
//! tunnel's marked messages gets their mark, so that a strict reverse path filter takes them for what they
//! are; see `src_valid_mark` in ip-sysctl.rst.

use crate::host::program;
use crate::host::setup::Plan;
use adit_device::netlink::IpFamily;
use adit_device::{IfName, Netns};
use std::io;

/// The filter of one tunnel: a table for each family that has a default route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The commands of nft(8).
    commands: Vec<String>,
    tables: Vec<String>,
}

impl Guard {
    /// What a plan needs; nothing without a default route of its own table.
    pub fn new(plan: &Plan) -> Self {
        let mut guard = Self::default();
        for (family, word) in WORDS {
            if plan.rules.iter().any(|rule| rule.family == family) {
                guard.table(plan, family, word);
            }
        }
        guard
    }

    fn table(&mut self, plan: &Plan, family: IpFamily, word: &str) {
        let (name, mark) = (plan.name, plan.mark);
        let table = table(word, name);
        let mut add = |command: String| self.commands.push(command);
        add(format!("add table {table}"));
        for (chain, hook, priority) in [
            ("preraw", "prerouting", -300),
            ("premangle", "prerouting", -150),
            ("postmangle", "postrouting", -150),
        ] {
            let hook = format!("{{ type filter hook {hook} priority {priority}; }}");
            add(format!("add chain {table} {chain} {hook}"));
        }
        for address in plan.addresses.iter().filter(|address| address.family() == family) {
            add(format!(
                "add rule {table} preraw iifname != \"{name}\" {word} daddr {} fib saddr type != local drop",
                address.ip()
            ));
        }
        let ours = "meta l4proto { tcp, udp }";
        add(format!("add rule {table} postmangle {ours} meta mark {mark} ct mark set meta mark"));
        add(format!("add rule {table} premangle {ours} ct mark {mark} meta mark set ct mark"));
        self.tables.push(table);
    }

    /// Each command, for people.
    pub fn actions(&self) -> impl Iterator<Item = String> + '_ {
        self.commands.iter().map(|command| format!("nft {command}"))
    }

    /// Sets it in the place of `before`, and of what a killed program has left by its name.
    ///
    /// # Errors
    /// What nft said, or that it is not there.
    pub fn replace(&self, before: &Self, netns: Option<&Netns>) -> Result<(), String> {
        let tables = before.tables.iter().chain(&self.tables);
        let cleared = tables.flat_map(|table| CLEAR.map(|verb| format!("{verb} table {table}")));
        nft(netns, cleared.chain(self.commands.iter().cloned()))
    }

    /// What a killed tunnel of this name may have left.
    pub fn stale(name: IfName) -> Self {
        let tables = WORDS.map(|(_, word)| table(word, name)).to_vec();
        Self { commands: Vec::new(), tables }
    }
}

/// How a table goes that may not be there.
const CLEAR: [&str; 2] = ["add", "delete"];

/// The families in the words of nft.
const WORDS: [(IpFamily, &str); 2] = [(IpFamily::V4, "ip"), (IpFamily::V6, "ip6")];

/// A tunnel's name has letters, digits, '-', '_' and '.', as nft's tables have.
fn table(word: &str, name: IfName) -> String {
    format!("{word} adit-{name}")
}

/// Runs all commands or none, in a namespace.
fn nft(netns: Option<&Netns>, commands: impl Iterator<Item = String>) -> Result<(), String> {
    let script: String = commands.map(|command| command + "\n").collect();
    if script.is_empty() {
        return Ok(());
    }
    let words = ["nft", "-f", "-"].map(str::to_owned);
    let run = move || program::run(&words, Some(&script)).map_err(|error| error.to_string());
    match netns {
        None => run(),
        Some(netns) => netns.run(run).unwrap_or_else(|error: io::Error| Err(error.to_string())),
    }
}
