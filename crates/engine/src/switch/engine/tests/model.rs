//! The switch against a naive model of one, over random operations.

use super::*;
use crate::cases::cases;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PORTS: u16 = 5;

/// All that the model knows: what the ports are and where addresses are.
struct Model {
    ports: Vec<(PortConfig, bool)>,
    table: BTreeMap<(u16, MacAddr), (u16, bool)>,
}

/// A frame taken apart: the VLAN's tag and the rest.
struct Apart {
    vlan: u16,
    /// Which kind of tag it has, or gets where any will do.
    tpid: u16,
    priority: u16,
    rest: Vec<u8>,
}

fn outer(bytes: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    matches!(word(12), 0x8100 | 0x88a8 | 0x9100).then(|| (word(12), word(14)))
}

fn without(bytes: &[u8]) -> Vec<u8> {
    [&bytes[..12], &bytes[16..]].concat()
}

fn take_apart(mode: &VlanMode, bytes: &[u8]) -> Option<Apart> {
    let whole = |vlan, tpid| Apart { vlan, tpid, priority: 0, rest: bytes.to_vec() };
    let stripped = |vlan, (tpid, tci): (u16, u16)| Apart {
        vlan,
        tpid,
        priority: tci & 0xf000,
        rest: without(bytes),
    };
    let tag = outer(bytes);
    match mode {
        VlanMode::Transparent => match tag {
            Some(tag) if tag.1 & 0xfff != 0 => Some(stripped(tag.1 & 0xfff, tag)),
            _ => Some(whole(0, 0x8100)),
        },
        VlanMode::Access(vlan) => match tag {
            None => Some(whole(vlan.number(), 0x8100)),
            Some((0x8100, tci)) if tci & 0xfff == 0 => {
                let apart = stripped(vlan.number(), (0x8100, tci));
                outer(&apart.rest).is_none().then_some(apart)
            }
            Some(_) => None,
        },
        VlanMode::Tunnel(vlan) => {
            let priority = tag.map_or(0, |(_, tci)| tci & 0xf000);
            Some(Apart { priority, ..whole(vlan.number(), 0x88a8) })
        }
        VlanMode::Trunk(trunk) => match tag.filter(|&(tpid, _)| tpid == trunk.tag.tpid()) {
            None => Some(whole(trunk.pvid?.number(), trunk.tag.tpid())),
            Some((tpid, tci)) if tci & 0xfff == 0 => {
                let apart = stripped(trunk.pvid?.number(), (tpid, tci));
                (outer(&apart.rest).is_none_or(|(inner, _)| inner != tpid)).then_some(apart)
            }
            Some(tag) => {
                let vlan = VlanId::new(tag.1 & 0xfff)?;
                let member = trunk.tagged.contains(vlan) || trunk.untagged.contains(vlan);
                member.then(|| stripped(vlan.number(), tag))
            }
        },
    }
}

/// The frame as it leaves by such a port; `None` if it does not.
fn put_together(mode: &VlanMode, apart: &Apart) -> Option<Vec<u8>> {
    let with = |tpid| tagged(tpid, apart.priority | apart.vlan, &apart.rest);
    let shown = outer(&apart.rest).map(|(tpid, _)| tpid);
    let vlan = VlanId::new(apart.vlan);
    match mode {
        VlanMode::Transparent if apart.vlan == 0 => Some(apart.rest.clone()),
        VlanMode::Transparent => Some(with(apart.tpid)),
        VlanMode::Access(ours) => {
            (vlan == Some(*ours) && shown.is_none()).then(|| apart.rest.clone())
        }
        VlanMode::Tunnel(ours) => (vlan == Some(*ours)).then(|| apart.rest.clone()),
        VlanMode::Trunk(trunk) if trunk.tagged.contains(vlan?) => Some(with(trunk.tag.tpid())),
        VlanMode::Trunk(trunk) => {
            let leaves = trunk.untagged.contains(vlan?) && shown != Some(trunk.tag.tpid());
            leaves.then(|| apart.rest.clone())
        }
    }
}

impl Model {
    /// What leaves when that frame comes in.
    fn give(&mut self, port: u16, bytes: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        let (from, up) = self.ports[usize::from(port)].clone();
        let nothing = BTreeMap::new();
        let Some(apart) = take_apart(&from.vlan, bytes).filter(|_| up) else { return nothing };
        let address = |at: usize| MacAddr(bytes[at..at + 6].try_into().unwrap());
        let (to, source) = (address(0), (apart.vlan, address(6)));
        match self.table.get(&source) {
            Some(&(owner, true)) if owner != port => return nothing,
            Some((_, true)) => {}
            _ => drop(self.table.insert(source, (port, false))),
        }
        let known = self.table.get(&(apart.vlan, to)).map(|&(port, _)| port);
        let mut sent = BTreeMap::new();
        for (other, (config, up)) in (0..).zip(&self.ports) {
            let grouped = from.group.is_some() && from.group == config.group;
            let kept_apart = from.isolated && config.isolated || grouped;
            let unknown = known.is_none() && !to.is_multicast() && config.isolated;
            if other == port || !up || kept_apart || unknown {
                continue;
            }
            if known.is_none_or(|known| known == other)
                && let Some(bytes) = put_together(&config.vlan, &apart)
            {
                sent.insert(other, bytes);
            }
        }
        sent
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Give(u16, Vec<u8>),
    SetPort(u16, PortConfig),
    SetLink(u16, bool),
    Add(u16, MacAddr, u16),
    Delete(u16, MacAddr),
}

fn any_vlan() -> impl Strategy<Value = VlanId> {
    prop::sample::select(vec![10, 20, 30]).prop_map(vlan)
}

fn any_set() -> impl Strategy<Value = VlanSet> {
    prop::collection::vec(any_vlan(), 0..3).prop_map(|vlans| vlans.into_iter().collect())
}

fn any_mode() -> impl Strategy<Value = VlanMode> {
    let kind = prop::sample::select(vec![TagKind::Customer, TagKind::Service]);
    let trunk = (any_set(), any_set(), prop::option::of(any_vlan()), kind)
        .prop_map(|(tagged, untagged, pvid, tag)| Trunk { tagged, untagged, pvid, tag });
    prop_oneof![
        Just(VlanMode::Transparent),
        any_vlan().prop_map(VlanMode::Access),
        any_vlan().prop_map(VlanMode::Tunnel),
        trunk.prop_map(VlanMode::Trunk),
    ]
}

fn any_port() -> impl Strategy<Value = PortConfig> {
    let group = prop::option::weighted(0.3, (0..2_u16).prop_map(GroupId));
    (any_mode(), prop::bool::weighted(0.3), group).prop_map(|(vlan, isolated, group)| PortConfig {
        vlan,
        isolated,
        group,
        ..PortConfig::default()
    })
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let tag = (
        prop::sample::select(vec![0x8100_u16, 0x88a8]),
        prop::sample::select(vec![0_u16, 10, 20, 30]),
        prop::sample::select(vec![0_u16, 0xa000, 0x1000]),
    );
    (1..5_u32, 0..5_u32, prop::collection::vec(tag, 0..3)).prop_map(|(from, to, tags)| {
        let to = if to == 0 { MacAddr::BROADCAST } else { mac(to) };
        let plain = frame(mac(from), to);
        tags.into_iter()
            .fold(plain, |bytes, (tpid, vlan, priority)| tagged(tpid, priority | vlan, &bytes))
    })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let numbers = || prop::sample::select(vec![0_u16, 10, 20]);
    prop_oneof![
        12 => (0..PORTS, any_frame()).prop_map(|(port, bytes)| Operation::Give(port, bytes)),
        2 => (0..PORTS, any_port()).prop_map(|(port, config)| Operation::SetPort(port, config)),
        1 => (0..PORTS, any::<bool>()).prop_map(|(port, up)| Operation::SetLink(port, up)),
        1 => (numbers(), 1..5_u32, 0..PORTS)
            .prop_map(|(vlan, host, port)| Operation::Add(vlan, mac(host), port)),
        1 => (numbers(), 1..5_u32).prop_map(|(vlan, host)| Operation::Delete(vlan, mac(host))),
    ]
}

fn apply(net: &mut Net, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Give(port, bytes) => {
            let sent = net.give(port, &bytes);
            let sent: BTreeMap<_, _> =
                sent.into_iter().map(|sent| (sent.port, sent.bytes)).collect();
            assert_eq!(sent, model.give(port, &bytes), "port {port}: {bytes:02x?}");
        }
        Operation::SetPort(port, config) => {
            let old = core::mem::replace(&mut model.ports[usize::from(port)].0, config.clone());
            if old.vlan != config.vlan {
                model.table.retain(|_, &mut (at, is_static)| at != port || is_static);
            }
            net.set_port(port, config);
        }
        Operation::SetLink(port, up) => {
            model.ports[usize::from(port)].1 = up;
            if !up {
                model.table.retain(|_, &mut (at, is_static)| at != port || is_static);
            }
            assert!(net.switch.set_link(PortId(port), up));
        }
        Operation::Add(number, mac, port) => {
            model.table.insert((number, mac), (port, true));
            net.switch.fdb_add(VlanId::new(number), mac, PortId(port)).unwrap();
        }
        Operation::Delete(number, mac) => {
            let was_there = model.table.remove(&(number, mac)).is_some();
            assert_eq!(net.switch.fdb_del(VlanId::new(number), mac), was_there);
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn it_does_what_the_model_does(
        ports in prop::collection::vec(any_port(), usize::from(PORTS)),
        operations in prop::collection::vec(any_operation(), 1..150),
    ) {
        let mut net = Net::with(SwitchConfig { moves_per_second: 255, ..quiet() }, PORTS);
        for (port, config) in (0..).zip(&ports) {
            net.set_port(port, config.clone());
        }
        let ports = ports.into_iter().map(|config| (config, true)).collect();
        let mut model = Model { ports, table: BTreeMap::new() };
        for operation in operations {
            apply(&mut net, &mut model, operation);
            let table: BTreeMap<_, _> = net.switch.fdb().map(|entry| {
                let number = entry.vlan.map_or(0, VlanId::number);
                ((number, entry.mac), (entry.port.0, entry.kind == FdbKind::Static))
            }).collect();
            prop_assert_eq!(&table, &model.table);
        }
    }
}
