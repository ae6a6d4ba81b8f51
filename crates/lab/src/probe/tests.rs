use super::*;
use adit_device::IfName;
use adit_device::netlink::{Address, LinkChange};

/// Namespaces on one bridge: 10.9.0.1, 10.9.0.2 ..., and that of the bridge.
fn network(hosts: u8) -> (Vec<Netns>, Netns) {
    let name = |text: &str| IfName::new(text).unwrap();
    let middle = Netns::new_anonymous().unwrap();
    let mut netlink = Netlink::open_in(&middle).unwrap();
    let bridge = netlink.add_bridge(&name("br")).unwrap();
    netlink.set_link(bridge, &LinkChange::new().up(true)).unwrap();
    let host = |number: u8| {
        let netns = Netns::new_anonymous().unwrap();
        let port = name(&format!("p{number}"));
        let (near, far) = netlink.add_veth(&port, &name("eth0")).unwrap();
        netlink.set_link(near, &LinkChange::new().master(bridge).up(true)).unwrap();
        netlink.set_link(far, &LinkChange::new().netns(&netns)).unwrap();
        let mut inside = Netlink::open_in(&netns).unwrap();
        let link = inside.link_by_name(&name("eth0")).unwrap().index;
        for address in [format!("10.9.0.{number}/24"), format!("fd09::{number}/64")] {
            let mut address: Address = address.parse().unwrap();
            address.flags = adit_device::netlink::AddressFlags::NODAD;
            inside.add_address(link, &address).unwrap();
        }
        inside.set_link(link, &LinkChange::new().up(true)).unwrap();
        netns
    };
    ((1..=hosts).map(host).collect(), middle)
}

fn v4(number: usize) -> IpAddr {
    [10, 9, 0, u8::try_from(number).unwrap()].into()
}

#[test]
fn all_pairs_of_more_hosts_than_a_kernel_has_neighbors_for() {
    // 50 hosts: 2,450 pings, and as many neighbors.
    let (hosts, _middle) = network(50);
    let mut prober = Prober::open(&hosts).unwrap();
    let pairs = (0..50).flat_map(|a| (0..a).flat_map(move |b| [(a, b), (b, a)]));
    let pings: Vec<Ping> = pairs.map(|(from, to)| Ping { from, to: v4(to + 1) }).collect();
    let times = prober.ping(&pings, Duration::from_secs(20)).unwrap();
    assert_eq!(times.len(), 2450);
    let missing = times.iter().filter(|time| time.is_none()).count();
    assert_eq!(missing, 0);
}

#[test]
fn a_host_that_is_not_there_gives_no_reply() {
    let (hosts, _middle) = network(2);
    let mut prober = Prober::open(&hosts).unwrap();
    let v6: IpAddr = "fd09::2".parse().unwrap();
    let mut answered = |pings: &[(usize, IpAddr)], seconds| {
        let pings: Vec<Ping> = pings.iter().map(|&(from, to)| Ping { from, to }).collect();
        let times = prober.ping(&pings, Duration::from_secs(seconds)).unwrap();
        times.iter().map(Option::is_some).collect::<Vec<bool>>()
    };
    assert_eq!(answered(&[(0, v4(2)), (1, v4(1)), (0, v6)], 30), [true; 3]);
    let pings = [(0, v4(2)), (0, v4(77)), (1, v4(1)), (0, [192, 0, 2, 1].into())];
    assert_eq!(answered(&pings, 1), [true, false, true, false]);
}
