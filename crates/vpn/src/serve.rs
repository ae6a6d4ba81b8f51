//! A NAT for the guests of ports: `adit nat serve`.

use adit_device::Mode;
use adit_nat::Publishing;
use adit_runtime::text::words::SpecError;
use adit_runtime::{NamespaceName, Opened, Port, PortSpec, SegmentEvent, SegmentOwner, now};
use adit_service::error::{Error, Result};
use adit_service::event::{Event, Events};
use adit_service::nat::run::{Parts, run_until_stopped};
use adit_service::nat::wanted::{Datapath, WantedNat};
use adit_service::nat::{Inside, take_sockets};
use adit_service::sandbox::{Level, Needs};
use adit_service::supervisor::{RateLimitedLog, seed, times};
use std::cell::RefCell;
use std::path::Path;

/// The ports of guests as text, and what they mean.
#[derive(Clone, Debug)]
pub struct WantedPorts {
    texts: Vec<String>,
    specs: Vec<PortSpec>,
    /// Packets or frames.
    pub mode: Mode,
}

impl WantedPorts {
    /// Parses ports.
    ///
    /// # Errors
    /// A text is wrong; packets and frames are mixed, or several ports have packets.
    pub fn parse(texts: Vec<String>) -> Result<Self> {
        let parse = |text: &String| {
            let spec: PortSpec = text.parse().map_err(|error: SpecError| {
                let new = Error::usage(format_args!("'{text}': {}", error.message));
                error.hint.into_iter().fold(new, |new, hint| new.hint(hint))
            })?;
            match spec.rest.first() {
                Some((key, _)) => Err(Error::usage(format_args!("'{text}': unknown key '{key}'"))),
                None => Ok(spec),
            }
        };
        let specs = texts.iter().map(parse).collect::<Result<Vec<_>>>()?;
        let mode = if specs.iter().any(PortSpec::is_layer3) { Mode::Tun } else { Mode::Tap };
        if mode == Mode::Tun && specs.len() > 1 {
            let message = "a port that carries packets (tun) must be the only one";
            return Err(Error::usage(message).hint("Use a TAP: its guests share the network."));
        }
        Ok(Self { texts, specs, mode })
    }

    /// What a start does, for `--dry-run`.
    #[must_use]
    pub fn actions(&self, wanted: &WantedNat) -> Vec<String> {
        let opened = self.texts.iter().map(|port| format!("open {port}"));
        let published = wanted.publish.iter().map(|spec| format!("publish {spec}"));
        opened.chain(["run a NAT there".to_owned()]).chain(published).collect()
    }

    /// Opens them as one port. `one` of frames needs no segment.
    fn open(&self, events: &Events) -> Result<Box<dyn Port>> {
        let mut opened = Vec::new();
        for spec in &self.specs {
            opened.push(spec.open()?);
        }
        if let [Opened::Ports(ports)] = opened.as_mut_slice()
            && let (Some(port), true) = (ports.pop(), ports.is_empty())
        {
            return Ok(port);
        }
        let name = self.texts.join(", ");
        let segment = SegmentOwner::join(name, opened, seed()?, observer(events.clone()));
        Ok(Box::new(segment.map_err(|error| Error::io("use", self.texts.join(", "), &error))?))
    }

    /// The folders of sockets, whose files are removed at the end, and of the names of namespaces.
    fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        let folder =
            |path: &Path| adit_device::rights::absolute(path).ok()?.parent().map(Path::to_owned);
        let writable = RefCell::new(Vec::new());
        for spec in &self.specs {
            spec.clone().change_path(|path| {
                writable.borrow_mut().extend(folder(path));
                path.to_owned()
            });
            let name = spec.netns().and_then(NamespaceName::of);
            needs.readable.extend(name.and_then(|name| folder(name.path())));
        }
        needs.writable = writable.into_inner();
        needs
    }
}

/// Reports guests that come and go.
fn observer(events: Events) -> Box<dyn FnMut(SegmentEvent) + Send> {
    let mut refused = RateLimitedLog::default();
    Box::new(move |event| match event {
        SegmentEvent::Added(port) => events.send(&Event::PortAdded { port }),
        SegmentEvent::Ended(port, why) => {
            events.send(&Event::PortGone { port, reason: why.to_string() });
        }
        SegmentEvent::Refused(port, why) => {
            if let Some(count) = refused.count(now()) {
                let message = format!("{port} was refused {}: {why}", times(count));
                events.send(&Event::Failed { message });
            }
        }
        SegmentEvent::ListenerEnded(error) => {
            events.send(&Event::Failed { message: format!("no guest can come: {error}") });
        }
        _ => {}
    })
}

/// Runs a NAT for the guests of ports, until it is stopped or the last port has ended.
///
/// # Errors
/// A port cannot be opened; nothing is left then.
pub fn run(ports: &WantedPorts, wanted: &WantedNat, level: Level, events: &Events) -> Result<()> {
    if wanted.publish.iter().any(|one| matches!(one, Publishing::Auto(_))) {
        let message =
            "what listens inside is known only of a namespace: '--publish auto' is not possible";
        return Err(Error::usage(message).hint("Publish ports: --publish 2222:22."));
    }
    if wanted.datapath == Datapath::Splice {
        let message = "'--datapath splice' is for namespaces: connections of guests are packets";
        return Err(Error::usage(message));
    }
    let sockets = take_sockets(&wanted.publish)?;
    // Before a thread is started.
    let follower = wanted.follow(level)?;
    let inside = Inside::Port(ports.open(events)?);
    let specs = ports.specs.clone();
    let (life, needs, ports) = (None, ports.needs(), ports.texts.clone());
    run_until_stopped(
        wanted,
        Parts { inside, sockets, life, follower, needs, ports, specs },
        level,
        events,
    )
}
