//! Events of the engine, as events of the service.

use crate::event::Event;
use crate::switch::state::SwitchService;
use adit_engine::PortId;
use adit_engine::switch::{LoopCause, Switch, SwitchEvent};
use adit_runtime::Runner;

impl SwitchService {
    /// Reports the events of the engine.
    pub(super) fn report_news(&self, runner: &mut Runner<Switch>) {
        while let Some(event) = runner.engine_mut().poll_event() {
            let (ids, text) = describe(&event, |id| self.name_of(id));
            let ports: Vec<String> = ids.iter().map(|id| self.name_of(*id)).collect();
            let mut message = text;
            for name in &ports {
                message = message.replacen("{}", name, 1);
            }
            self.events.send(&Event::News { ports, message });
        }
    }
}

/// The reason for which the port `at` is blocked, with the name of the other port.
pub(super) fn cause_of(at: PortId, cause: LoopCause, name_of: impl Fn(PortId) -> String) -> String {
    match cause {
        LoopCause::Probe { other } if other == at => {
            "its own loop probe came back: the network behind it has a loop".to_owned()
        }
        LoopCause::Probe { other } => {
            let other = name_of(other);
            format!(
                "a loop probe sent on {other} arrived here: both are connected outside the switch"
            )
        }
    }
}

/// Describes an event, with `{}` for the name of each port.
fn describe(event: &SwitchEvent, name_of: impl Fn(PortId) -> String) -> (Vec<PortId>, String) {
    let vlan = |vlan: &Option<_>| {
        vlan.map_or(String::new(), |vlan: adit_engine::switch::VlanId| format!(" in vlan {vlan}"))
    };
    match event {
        SwitchEvent::PortBlocked { port, cause } => {
            (vec![*port], format!("{{}} blocked: {}", cause_of(*port, *cause, name_of)))
        }
        SwitchEvent::PortUnblocked { port } => {
            (vec![*port], "{} unblocked: the loop is gone".to_owned())
        }
        SwitchEvent::MacMoved { vlan: of, mac, from, to } => {
            (vec![*from, *to], format!("{mac}{} moved from {{}} to {{}}", vlan(of)))
        }
        SwitchEvent::MacRefused { vlan: of, mac, owner, port } => (
            vec![*owner, *port],
            format!("{mac}{} belongs to {{}}: frames from it are dropped on {{}}", vlan(of)),
        ),
        SwitchEvent::PortLimit { port, limit } => {
            let message =
                format!("{{}} has reached its limit of {limit} learned addresses (fdb-limit)");
            (vec![*port], message)
        }
        SwitchEvent::Storm { port, kind } => (vec![*port], format!("storm of {kind} on {{}}")),
        SwitchEvent::Guarded { port, mac, reason } => {
            (vec![*port], format!("frame from {mac} dropped on {{}}: {reason}"))
        }
        other => (Vec::new(), other.to_string()),
    }
}
