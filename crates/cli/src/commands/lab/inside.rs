//! `adit lab exec`, `shell`, `run`: programs in nodes.

use crate::commands::lab::which::{Which, lab};
use crate::commands::lab::{console, prompt};
use crate::commands::running::ask;
use crate::context::Context;
use crate::exit::Exit;
use adit_lab::enter;
use adit_lab::keeper::Door;
use adit_service::control::client::Client;
use adit_service::control::http::escape;
use adit_service::error::Result;
use adit_service::namespace::shell;
use adit_topology::report;
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command has the network, names and files of the node, and the terminal of the caller. Exits with the status of \
COMMAND: 128+n after signal n.

Examples:
  adit lab exec pc -- ping -c 3 server
  adit lab exec gw -- ip route
  adit lab exec server -- tcpdump -ni eth0")]
pub(crate) struct ExecArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    command: Vec<OsString>,
    #[command(flatten)]
    which: Which,
}

impl ExecArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        if context.is_rehearsal(&[format!("run a command in node '{}'", self.node)])? {
            return Ok(Exit::Ok);
        }
        exec(&client, &self.node, &self.command, &[])
    }
}

/// Runs a command in a node. This process is there then.
pub(super) fn exec(
    client: &Client,
    node: &str,
    command: &[OsString],
    environment: &[(OsString, OsString)],
) -> Result<Exit> {
    let door: report::Door = ask(client, &format!("/lab/nodes/{}/door", escape(node)))?;
    let report::Door { keeper, net, mount, uts } = door;
    let mut all = vec![("ADIT_LAB".into(), client.name().as_str().into())];
    all.push(("ADIT_NODE".into(), node.into()));
    all.extend(environment.iter().cloned());
    enter(&Door { keeper, net, mount, uts }, command, &all).map(Exit::Program)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
With a node, starts $SHELL there; its prompt names the node. With a guest, opens its serial console, which Ctrl-] \
leaves. Without one, reads lines: a node and a command, in which \
names of other nodes stand for their addresses, or a command of 'adit lab' such as 'ping', 'fail uplink', 'show'.

Examples:
  adit lab shell pc
  adit lab shell
    lab> h1 ping -c 1 h2
    lab> fail uplink
    lab> exit")]
pub(crate) struct ShellArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl ShellArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        let Some(node) = self.node else { return prompt::run(context, &client) };
        let console = lab(&client)?.nodes.into_iter().find(|known| known.name == node);
        if let Some(console) = console.and_then(|node| node.console) {
            return console::run(context, &node, &console);
        }
        let prompt: OsString = format!("{node}:\\w\\$ ").into();
        let shell = shell();
        let is_bash = std::path::Path::new(&shell).file_name().is_some_and(|name| name == "bash");
        // What the files of a shell set wins over the environment; bash is asked once more before each prompt.
        let set = ("PROMPT_COMMAND".into(), "PS1=$ADIT_PROMPT".into());
        let mut environment: Vec<(OsString, OsString)> =
            vec![("PS1".into(), prompt.clone()), ("ADIT_PROMPT".into(), prompt)];
        environment.extend(is_bash.then_some(set));
        exec(&client, &node, &[shell], &environment)
    }
}
