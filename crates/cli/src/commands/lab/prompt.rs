//! The prompt of a lab: `h1 ping h2`, as Mininet has it, and the commands of `adit lab`.

use crate::commands::lab::which::hosts;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::control::client::Client;
use adit_service::error::{Error, Result};
use adit_topology::report::Node;
use std::io::{BufRead, IsTerminal, Write};
use std::process::Command;

/// The commands of `adit lab` that a line may begin with.
const COMMANDS: [&str; 12] = [
    "show", "ping", "set", "fail", "heal", "capture", "apply", "logs", "top", "graph", "exec",
    "test",
];

/// Other names of commands, as Mininet's users know them.
const ALIASES: [(&str, &str); 3] = [("pingall", "ping"), ("nodes", "show"), ("links", "show")];

const HELP: &str = "\
NODE COMMAND     runs a command in a node; names of nodes stand for their addresses: h1 ping -c 1 h2
NODE             starts a shell in a node
show, ping, set LINK KEY=VALUE, fail LINK, heal, logs, top, graph ...   as 'adit lab COMMAND'
exit             leaves the prompt; the lab continues";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Exit,
    Help,
    /// Words of `adit lab`.
    Adit(Vec<String>),
    Unknown(String),
}

impl Asked {
    fn read(line: &str, nodes: &[Node]) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(first) = words.next() else { return Self::Nothing };
        let rest: Vec<String> = words.collect();
        if let Some(node) = nodes.iter().find(|node| node.name == first) {
            if rest.is_empty() {
                return Self::Adit(vec!["shell".to_owned(), first]);
            }
            // A shell of the node reads the line: pipes and quotes mean what they mean there.
            let after = line.trim_start().strip_prefix(&node.name).unwrap_or(line);
            let command = with_addresses(after, nodes);
            let words = ["exec", &first, "--", "sh", "-c", command.trim()];
            return Self::Adit(words.map(str::to_owned).into());
        }
        match first.as_str() {
            "exit" | "quit" => Self::Exit,
            "help" | "?" => Self::Help,
            word => {
                let alias = ALIASES.iter().find(|(alias, _)| *alias == word);
                let word = alias.map_or(word, |(_, command)| command);
                if !COMMANDS.contains(&word) {
                    return Self::Unknown(first);
                }
                Self::Adit(std::iter::once(word.to_owned()).chain(rest).collect())
            }
        }
    }
}

/// The line with names of nodes replaced by their addresses.
fn with_addresses(line: &str, nodes: &[Node]) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let mut text = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(len);
        let address = nodes.iter().find(|node| node.name == word);
        let address = address.and_then(|node| node.address(false).or_else(|| node.address(true)));
        match address {
            Some(ip) => text.push_str(&ip.to_string()),
            None => text.push_str(word),
        }
        let next = after.chars().next().map_or(0, char::len_utf8);
        text.push_str(&after[..next]);
        rest = &after[next..];
    }
    text
}

/// Reads lines until `exit`, or the end of standard input; returns the status of the last command.
pub(super) fn run(context: &Context, client: &Client) -> Result<Exit> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let mut last = Exit::Ok;
    // What the terminal sends with Ctrl-C is for the command.
    let signals = adit_service::namespace::Running::signals();
    let _signals = signals.map_err(|error| Error::io("read", "signals", &error))?;
    loop {
        if is_terminal {
            let mut out = std::io::stderr().lock();
            // Standard error may be closed.
            let _ = write!(out, "{}> ", client.name()).and_then(|()| out.flush());
        }
        let mut line = String::new();
        let len = stdin.lock().read_line(&mut line);
        if len.map_err(|error| Error::io("read", "standard input", &error))? == 0 {
            return Ok(last);
        }
        match Asked::read(&line, &hosts(client)?) {
            Asked::Nothing => {}
            Asked::Exit => return Ok(last),
            Asked::Help => context.output.line(HELP)?,
            Asked::Unknown(word) => {
                context
                    .output
                    .note(format_args!("'{word}' is neither a node nor a command; try 'help'"));
                last = Exit::Usage;
            }
            Asked::Adit(words) => {
                let mut words = words.into_iter();
                let mut command = Command::new(&program);
                command.arg("lab").args(words.next()).args(["--lab", client.name().as_str()]);
                let status = command.args(words).status();
                let status =
                    status.map_err(|error| Error::io("start", program.display(), &error))?;
                last = Exit::of_program(status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_topology::report::Interface;

    fn node(name: &str, address: &str) -> Node {
        let interface = Interface {
            name: "eth0".to_owned(),
            link: "x".to_owned(),
            mac: String::new(),
            mtu: 1500,
            addresses: vec![address.to_owned()],
        };
        Node {
            name: name.to_owned(),
            kind: "host".to_owned(),
            failed: false,
            console: None,
            interfaces: vec![interface],
            programs: Vec::new(),
        }
    }

    #[test]
    fn names_of_nodes_stand_for_their_addresses() {
        let nodes = [node("h1", "10.0.0.1/24"), node("h2", "fd00::2/64")];
        let sh = |command: &str| {
            let words = ["exec", "h1", "--", "sh", "-c", command];
            Asked::Adit(words.map(str::to_owned).into())
        };
        let read = |line: &str| Asked::read(line, &nodes);
        assert_eq!(read("h1 ping -c 1 h2\n"), sh("ping -c 1 fd00::2"));
        assert_eq!(
            read("h1 cat h2.txt /h1 | grep 'h1:80'"),
            sh("cat h2.txt /h1 | grep '10.0.0.1:80'")
        );
        assert_eq!(read("h1"), Asked::Adit(vec!["shell".into(), "h1".into()]));
        assert_eq!(read("pingall"), Asked::Adit(vec!["ping".into()]));
        assert_eq!(read("fail a-b"), Asked::Adit(vec!["fail".into(), "a-b".into()]));
        assert_eq!(read("h3 ping"), Asked::Unknown("h3".into()));
        assert_eq!((read(" \n"), read("exit")), (Asked::Nothing, Asked::Exit));
    }
}
