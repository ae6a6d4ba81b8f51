//! The wanted switch, from the command line and its file, and the actions of its start.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::control::name::Name;
use crate::error::Result;
use crate::metrics::ListenAddress;
use crate::switch::model;
use crate::switch::port::WantedPort;
use crate::switch::wanted::WantedSwitch;
use adit_engine::switch::VlanMode;
use std::path::PathBuf;

/// The command line; it is read again, with the file, at each reload.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The file.
    pub config: Option<PathBuf>,
    /// The name, in place of the file's.
    pub name: Option<Name>,
    /// Ports besides those of the file.
    pub ports: Vec<String>,
    /// Mirrors besides those of the file.
    pub mirrors: Vec<String>,
    /// The seed, in place of the file's.
    pub seed: Option<u64>,
    /// Where metrics are read by TCP, in place of the file's.
    pub metrics: Option<ListenAddress>,
    /// Keys of the switch itself, in place of the file's.
    pub switch: Vec<(&'static str, String)>,
}

impl Plan {
    /// What is wanted.
    ///
    /// # Errors
    /// All mistakes, of the file and of the options.
    pub fn read(&self) -> Result<WantedSwitch> {
        let problems = Problems::default();
        let mut lab = WantedSwitch::default();
        if let Some(path) = &self.config {
            lab = WantedSwitch::of_source(&Source::read(path)?, &problems);
        }
        for text in &self.ports {
            lab.add_port(&Source::new("--port", text), &problems);
        }
        for text in &self.mirrors {
            lab.add_mirror(&Source::new("--mirror", text), &problems);
        }
        for (key, text) in &self.switch {
            let source = Source::new(format!("--{key}"), text);
            let mut table = read::options(&source, [(*key, &source)], &problems);
            lab.set_switch(&mut table);
            table.finish();
        }
        let what = self
            .config
            .as_ref()
            .map_or("the command line".to_owned(), |path| path.display().to_string());
        problems.check(what)?;
        lab.name = self.name.clone().or(lab.name);
        lab.seed = self.seed.or(lab.seed);
        lab.metrics = self.metrics.or(lab.metrics);
        Ok(lab)
    }
}

/// What a start would do, for `--dry-run`.
pub fn actions(lab: &WantedSwitch) -> Vec<String> {
    let name = lab.name.as_ref().map_or("switch".to_owned(), ToString::to_string);
    let mut actions = vec![format!("run the switch '{name}'")];
    for port in &lab.ports {
        actions.push(format!("open {}", port.text));
        actions.extend(settings(port).into_iter().map(|what| format!("{}: {what}", port.name)));
    }
    for entry in &lab.statics {
        actions.push(format!("add the static address {} on {}", entry.mac, entry.port));
    }
    for mirror in &lab.mirrors {
        let of =
            if mirror.ports.is_empty() { "all ports".to_owned() } else { mirror.ports.join(", ") };
        actions.push(format!("mirror {of} to {}", mirror.to));
    }
    actions
}

/// Describes what is valid but rarely meant: no ports, and ports that carry every VLAN although others are
/// confined to theirs.
pub fn warnings(lab: &WantedSwitch) -> Vec<String> {
    if lab.ports.is_empty() {
        return vec!["the switch has no ports: add them to the file as [[port]]".to_owned()];
    }
    let is_open = |port: &&WantedPort| port.config.vlan == VlanMode::Transparent;
    if lab.ports.iter().all(|port| is_open(&port)) {
        return Vec::new();
    }
    let is_mirror =
        |port: &WantedPort| lab.mirrors.iter().any(|mirror| mirror.to.to_string() == port.name);
    let open = lab.ports.iter().filter(is_open).filter(|port| !is_mirror(port));
    open.map(|port| {
        format!(
            "port {} has no `vlan`: it carries every VLAN, although other ports are confined to theirs",
            port.name
        )
    })
    .collect()
}

/// What is not the default of a port, in words.
fn settings(port: &WantedPort) -> Vec<String> {
    let told = model::port((&port.name, &port.text), &port.config, None, None, None);
    let mut words = Vec::new();
    if told.vlan != model::Vlan::Any {
        words.push(format!("vlan {}", told.vlan.text()));
    }
    words.extend(told.flags.on().map(str::to_owned));
    words.extend(told.split_horizon.map(|group| format!("split horizon {group}")));
    words.extend(told.guard.text().map(|guards| format!("guards: {guards}")));
    words.extend(told.storm.text().map(|storms| format!("at most {storms}")));
    if let Some(profiles) = &port.netem {
        let asked = crate::netem::report::Netem::new(profiles);
        for (way, keys) in [("in", &asked.a_to_b), ("out", &asked.b_to_a)] {
            words.push(format!("link {way}: {}", crate::netem::report::keys_text(keys)));
        }
    }
    words.extend(port.mirror.as_ref().map(|path| format!("copied to {}", path.display())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_of(ports: &[&str], mirrors: &[&str]) -> Vec<String> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let plan = Plan { ports: owned(ports), mirrors: owned(mirrors), ..Plan::default() };
        warnings(&plan.read().expect("no mistakes"))
    }

    #[test]
    fn a_port_without_a_vlan_among_confined_ports_is_a_warning() {
        assert_eq!(warnings_of(&["tap:a", "tap:b"], &[]), Vec::<String>::new());
        assert_eq!(warnings_of(&["tap:a,vlan=10", "tap:b,vlan=20"], &[]), Vec::<String>::new());
        let expected = "port tap:b has no `vlan`: it carries every VLAN, although other ports are \
                        confined to theirs";
        assert_eq!(warnings_of(&["tap:a,vlan=10", "tap:b"], &[]), [expected]);
    }
}
