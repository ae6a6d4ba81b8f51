//! Events of the engine, as events of the service.

use crate::event::Event;
use crate::switch::state::SwitchService;
use adit_engine::PortId;
use adit_engine::switch::{Switch, SwitchEvent};
use adit_runtime::Runner;

impl SwitchService {
    /// Reports the events of the engine.
    pub(super) fn report_news(&self, runner: &mut Runner<Switch>) {
        while let Some(event) = runner.engine_mut().poll_event() {
            let (ids, text) = describe(&event);
            let ports: Vec<String> = ids.iter().map(|id| self.name_of(*id)).collect();
            let mut message = text;
            for name in &ports {
                message = message.replacen("{}", name, 1);
            }
            self.events.send(&Event::News { ports, message });
        }
    }
}

/// What happened, with `{}` for the name of each port.
fn describe(event: &SwitchEvent) -> (Vec<PortId>, String) {
    let vlan = |vlan: &Option<_>| {
        vlan.map_or(String::new(), |vlan: adit_engine::switch::VlanId| format!(" in vlan {vlan}"))
    };
    match event {
        SwitchEvent::PortBlocked { port, cause } => (vec![*port], format!("{{}} blocked: {cause}")),
        SwitchEvent::PortUnblocked { port } => {
            (vec![*port], "{} unblocked: the loop is gone".to_owned())
        }
        SwitchEvent::MacMoved { vlan: of, mac, from, to } => {
            (vec![*from, *to], format!("{mac}{} moved from {{}} to {{}}", vlan(of)))
        }
        SwitchEvent::MacRefused { vlan: of, mac, owner, port } => {
            (vec![*owner, *port], format!("{mac}{} of {{}} refused on {{}}", vlan(of)))
        }
        SwitchEvent::PortLimit { port } => {
            (vec![*port], "{} has reached its limit of learned addresses".to_owned())
        }
        SwitchEvent::Storm { port, kind } => (vec![*port], format!("storm of {kind} on {{}}")),
        SwitchEvent::Guarded { port, mac, reason } => {
            (vec![*port], format!("frame from {mac} dropped on {{}}: {reason}"))
        }
        other => (Vec::new(), other.to_string()),
    }
}
