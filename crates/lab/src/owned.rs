//! A lab that runs in this process, for tests and programs of their own.

use crate::keeper::PART;
use crate::live::{LAB, run_in_thread};
use crate::probe::{Ping, Prober};
use adit_device::Netns;
use adit_service::config::problems::Problems;
use adit_service::config::source;
use adit_service::control::client::Client;
use adit_service::control::http::{Method, escape};
use adit_service::control::name::{Claim, Name};
use adit_service::control::server::Server;
use adit_service::control::socket::ControlSocket;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::{Event, Events, Observer};
use adit_service::supervisor::seed;
use adit_topology::file;
use adit_topology::plan::Plan;
use adit_topology::report::{self, CommandOutput, Network};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{PipeWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a reply to a ping is waited for.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// What a lab is made from: the text of a file, a network, or a plan.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// The text of a file, which includes no other.
    Text(&'a str),
    /// A network.
    Model(Box<adit_topology::model::Lab>),
    /// A network with everything filled in.
    Plan(Box<Plan>),
}

impl<'a> From<&'a str> for Source<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<adit_topology::model::Lab> for Source<'_> {
    fn from(lab: adit_topology::model::Lab) -> Self {
        Self::Model(Box::new(lab))
    }
}

impl From<Plan> for Source<'_> {
    fn from(plan: Plan) -> Self {
        Self::Plan(Box::new(plan))
    }
}

impl Source<'_> {
    pub(crate) fn plan(self) -> Result<Plan> {
        match self {
            Self::Plan(plan) => Ok(*plan),
            Self::Model(lab) => Plan::of(*lab),
            Self::Text(text) => {
                let source = source::Source::new("the lab", text);
                let problems = Problems::default();
                let read = file::of_source(&source, &[], seed()?, &problems);
                problems.check("the lab")?;
                read.map(|(plan, _)| plan).ok_or_else(|| Error::usage("the lab has no plan"))
            }
        }
    }
}

/// A lab that runs in this process. It ends when this is dropped. It has no sandbox, other than that of `adit lab up`: its thread
/// cannot give up rights that the process has for others.
#[derive(Debug)]
pub struct Lab {
    client: Client,
    networks: Vec<Network>,
    /// Closed first: the lab ends.
    life: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

/// How far the start has come.
enum Started {
    Ready,
    Failed(Error),
}

/// Passes on that the lab is ready.
struct Waiter(Sender<Started>);

impl Observer for Waiter {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Ready { .. }) {
            // Nobody waits once it was ready.
            let _ = self.0.send(Started::Ready);
        }
    }
}

impl Lab {
    /// Makes a network, and returns once all of its programs are ready. `None`: this process may not make namespaces,
    /// which it says on standard error, for a test that is skipped.
    ///
    /// # Errors
    /// All mistakes of the text; a part that the kernel refuses.
    pub fn up<'a>(source: impl Into<Source<'a>>) -> Result<Option<Self>> {
        match Self::start(source.into().plan()?) {
            Ok(lab) => Ok(Some(lab)),
            Err(error) if error.kind == Kind::Permission => {
                // Standard error may be closed.
                let _ = writeln!(std::io::stderr().lock(), "skipped: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn start(plan: Plan) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name: Name = format!("lab-{number}").parse().map_err(Error::usage)?;
        let folder = std::env::temp_dir().join(format!("adit-lab-{}-{number}", std::process::id()));
        let claim = Claim::in_folder(folder.clone(), name.clone())?;
        let path = claim.socket_path();
        let socket = ControlSocket::new(name.clone(), Server::bind(claim, LAB)?);
        let failed = |error| Error::io("start", "the lab", &error);
        let (end, life) = std::io::pipe().map_err(failed)?;
        let (sender, started) = channel();
        let thread = std::thread::Builder::new().name("lab".to_owned()).spawn(move || {
            let events = Events::new(Waiter(sender.clone()));
            if let Err(error) = run_in_thread(plan, socket, end.into(), events) {
                let _ = sender.send(Started::Failed(error));
            }
        });
        let mut lab = Self {
            client: Client::at(name, path),
            networks: Vec::new(),
            life: Some(life),
            thread: Some(thread.map_err(failed)?),
            folder,
        };
        match started.recv() {
            Ok(Started::Ready) => {}
            Ok(Started::Failed(error)) => return Err(error),
            Err(_) => return Err(Error::usage("the thread of the lab has panicked")),
        }
        lab.networks = lab.ask("/lab/networks")?;
        Ok(lab)
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(self.client.get(path)?)
    }

    fn change(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.client.send(method, path, body)
    }

    /// The state of each part.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn show(&self) -> Result<report::Lab> {
        self.ask("/lab?counters=all")
    }

    fn network(&self, node: &str) -> Result<&Network> {
        let found = self.networks.iter().find(|network| network.node == node);
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, &PART, format!("the lab has no host called '{node}'"))
        })
    }

    /// The network of a host, in which something is sent.
    fn host(&self, node: &str) -> Result<Netns> {
        let net = self.network(node)?.net.as_ref();
        let net = net.ok_or_else(|| Error::usage(format!("'{node}' is a virtual machine")))?;
        let failed = |error| Error::io("enter", format_args!("the network of '{node}'"), &error);
        Netns::open(net).map_err(failed)
    }

    /// The first address of a host, IPv4 if it has one.
    ///
    /// # Errors
    /// There is no such host, or it has no address.
    pub fn address(&self, node: &str) -> Result<IpAddr> {
        let addresses = &self.network(node)?.addresses;
        let v4 = addresses.iter().find(|ip| ip.is_ipv4());
        let message = || Error::usage(format!("host '{node}' has no address"));
        v4.or_else(|| addresses.first()).copied().ok_or_else(message)
    }

    /// Does `work` in the network of a host, on a thread of its own: sockets that it opens stay there.
    ///
    /// # Errors
    /// There is no such host.
    pub fn in_node<T: Send>(&self, node: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.host(node)?
            .run(work)
            .map_err(|error| Error::io("enter", format_args!("the network of '{node}'"), &error))
    }

    /// Runs a command in a host, for at most 30 seconds.
    ///
    /// # Errors
    /// There is no such host, or no such command. A status other than 0 is no error.
    pub fn exec(&self, node: &str, words: &[&str]) -> Result<CommandOutput> {
        let path = format!("/lab/nodes/{}/exec", escape(node));
        read(self.change(Method::Post, &path, &json!({ "words": words }))?)
    }

    /// The time of an echo from one host to another, after one that has resolved addresses; `None`: no reply came within
    /// two seconds.
    ///
    /// # Errors
    /// There is no such host, or it has no address.
    pub fn ping(&self, from: &str, to: &str) -> Result<Option<Duration>> {
        let ping = Ping { from: 0, to: self.address(to)? };
        let times = Prober::open(&[self.host(from)?])
            .and_then(|mut prober| prober.ping(&[ping], PING_WITHIN));
        let times = times.map_err(|error| Error::io("ping", format_args!("'{to}'"), &error))?;
        Ok(times.into_iter().next().flatten())
    }

    /// Changes what a link is like, by keys of `adit netem`; other settings stay.
    ///
    /// # Errors
    /// There is no such link, or it has no emulation; a wrong key or value.
    pub fn set(&self, link: &str, keys: &[(&str, &str)]) -> Result<()> {
        let body: serde_json::Map<String, Value> =
            keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let path = format!("/lab/links/{}", escape(link));
        self.change(Method::Patch, &path, &Value::Object(body)).map(drop)
    }

    /// Lets a link, or all links of a node, fail.
    ///
    /// # Errors
    /// There is no such part.
    pub fn fail(&self, part: &str) -> Result<()> {
        self.change(Method::Post, "/lab/fail", &self.named(part)?).map(drop)
    }

    /// Heals what [`Self::fail`] broke.
    ///
    /// # Errors
    /// There is no such part.
    pub fn heal(&self, part: &str) -> Result<()> {
        self.change(Method::Post, "/lab/heal", &self.named(part)?).map(drop)
    }

    fn named(&self, part: &str) -> Result<Value> {
        let lab: report::Lab = self.ask("/lab")?;
        let is_node = lab.nodes.iter().any(|node| node.name == part);
        Ok(if is_node { json!({ "nodes": [part] }) } else { json!({ "links": [part] }) })
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::io("read", "a reply", &error.into()))
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
