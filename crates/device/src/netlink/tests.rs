//! Bytes: what is written, what is read, and what must not be believed.

use super::error::{acknowledgement, end_of_dump};
use super::message::{Request, attributes, messages, read_ip, read_string};
use super::socket::{Answers, ROUTE, Socket};
use super::uapi::{
    FRA_TABLE, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU,
    IFLA_PROP_LIST, IFLA_STATS64, IFLA_TUN_OWNER, IFLA_TUN_PI, IFLA_TUN_TYPE, NLMSGERR_ATTR_MSG,
    RTA_DST, RTA_METRICS, RTA_VIA, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE,
    RTM_GETRULE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTM_NEWRULE,
};
use super::{
    Address, Event, FwMark, LinkFlags, NetlinkError, Route, Rule, RuleAction, decode_for_fuzzing,
    link, monitor, raw_errno,
};
use crate::NamePattern;
use crate::wire::{Wire, decode, encode};
use adit_packet::{IpFamily, IpPrefix};
use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR,
};
use proptest::prelude::*;
use rustix::net::{RecvFlags, SendFlags};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::time::Duration;

/// A message as the kernel would write it.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Request::new(kind, flags, body).finish(sequence).unwrap().to_vec();
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

#[test]
fn a_request_is_written_as_the_kernel_reads_it() {
    let mut request = Request::new(RTM_GETLINK, NLM_F_DUMP, &[9, 0]);
    request.string(IFLA_IFNAME, b"tun0").nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"x");
    });
    let bytes = request.finish(7).unwrap();
    let mut expected = Vec::new();
    expected.extend_from_slice(&44_u32.to_ne_bytes());
    expected.extend_from_slice(&18_u16.to_ne_bytes());
    expected.extend_from_slice(&0x305_u16.to_ne_bytes()); // REQUEST, ACK, DUMP
    expected.extend_from_slice(&7_u32.to_ne_bytes());
    expected.extend_from_slice(&0_u32.to_ne_bytes());
    expected.extend_from_slice(&[9, 0, 0, 0]); // the header, padded
    expected.extend_from_slice(&9_u16.to_ne_bytes());
    expected.extend_from_slice(&3_u16.to_ne_bytes());
    expected.extend_from_slice(b"tun0\0\0\0\0");
    expected.extend_from_slice(&12_u16.to_ne_bytes());
    expected.extend_from_slice(&(18 | 0x8000_u16).to_ne_bytes());
    expected.extend_from_slice(&5_u16.to_ne_bytes());
    expected.extend_from_slice(&1_u16.to_ne_bytes());
    expected.extend_from_slice(b"x\0\0\0");
    assert_eq!(bytes, &expected[..]);
    let message = messages(bytes).next().unwrap();
    let kinds: Vec<_> = attributes(&message.body[4..]).map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [IFLA_IFNAME, IFLA_LINKINFO]);
}

#[test]
fn a_value_that_does_not_fit_stops_the_request() {
    let mut request = Request::new(RTM_GETLINK, 0, &[]);
    request.attribute(1, &vec![0; 65_531]);
    assert!(request.finish(1).is_ok());
    request.attribute(1, &vec![0; 65_532]);
    assert_eq!(request.finish(1).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
}

#[test]
fn a_truncated_message_ends_the_walk() {
    let whole = message(RTM_NEWLINK, 0, 1, &[0; 16]);
    assert_eq!(messages(&whole).count(), 1);
    assert_eq!(messages(&[whole.clone(), whole.clone()].concat()).count(), 2);
    for len in 0..whole.len() {
        assert_eq!(messages(&whole[..len]).count(), 0, "{len}");
    }
    let attribute = [8, 0, 1, 0, 1, 2, 3, 4];
    assert_eq!(attributes(&attribute).collect::<Vec<_>>(), [(1, &[1, 2, 3, 4][..])]);
    for len in 0..attribute.len() {
        assert_eq!(attributes(&attribute[..len]).count(), 0, "{len}");
    }
    // A length below that of its own header must not be walked for ever.
    assert_eq!(attributes(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    assert_eq!(attributes(&[0; 64]).count(), 0);
    assert_eq!(read_ip(&[1, 2, 3]), None);
    assert_eq!(read_ip(&[192, 0, 2, 1]), Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    assert_eq!(read_string(b"tun0\0junk"), b"tun0");
    assert_eq!(read_string(b"tun0"), b"tun0");
}

/// The body of an NLMSG_ERROR, with the request's header and TLVs.
fn refusal(code: i32, request: &[u8], text: Option<&[u8]>) -> Vec<u8> {
    let mut tlvs = Request::new(0, 0, &[]);
    if let Some(text) = text {
        tlvs.string(NLMSGERR_ATTR_MSG, text);
    }
    let tlvs = tlvs.finish(0).unwrap()[16..].to_vec();
    [&code.to_ne_bytes()[..], request, &tlvs].concat()
}

#[test]
fn refusals_keep_their_number_and_their_words() {
    let request = message(RTM_NEWLINK, 0, 3, &[1; 20]);
    assert!(acknowledgement(0, &refusal(0, &request, None)).is_ok());

    let plain = acknowledgement(0, &refusal(-17, &request, None)).unwrap_err();
    assert_eq!((plain.raw_os_error(), raw_errno(&plain)), (Some(17), Some(17)));

    let with_body = refusal(-22, &request, Some(b"mtu less than device minimum"));
    let capped = refusal(-22, &request[..16], Some(b"mtu less than device minimum"));
    let cases = [(NLM_F_ACK_TLVS, with_body), (NLM_F_ACK_TLVS | NLM_F_CAPPED, capped)];
    for (flags, body) in cases {
        let error = acknowledgement(flags, &body).unwrap_err();
        assert_eq!(raw_errno(&error), Some(22));
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(NetlinkError::of(&error).unwrap().message(), "mtu less than device minimum");
    }
    assert_eq!(raw_errno(&end_of_dump(0, &(-2_i32).to_ne_bytes()).unwrap_err()), Some(2));
    assert!(end_of_dump(0, &[]).is_ok());
    // No errno at all, and the one number that has no positive twin.
    assert_eq!(raw_errno(&acknowledgement(0, &[1, 2]).unwrap_err()), Some(libc::EBADMSG));
    for code in [5, i32::MIN] {
        let error = acknowledgement(0, &code.to_ne_bytes()).unwrap_err();
        assert_eq!(raw_errno(&error), Some(libc::EPROTO));
    }
}

#[test]
fn answers_to_other_requests_are_passed_over() {
    let stale = message(NLMSG_ERROR, 0, 6, &refusal(-1, &[0; 16], None));
    let link = message(RTM_NEWLINK, 0, 7, &[0; 16]);
    let mut seen = 0;
    let mut answers = Answers::new(7);
    let datagram = [stale, link].concat();
    assert!(answers.take(&datagram, &mut |_| seen += 1).is_continue());
    let done = message(NLMSG_DONE, 0, 7, &[0; 4]);
    let ControlFlow::Break(result) = answers.take(&done, &mut |_| seen += 1) else {
        panic!("the end was not seen")
    };
    assert!(result.is_ok());
    assert_eq!(seen, 1);
}

#[test]
fn a_list_that_changed_meanwhile_is_not_taken() {
    let mut answers = Answers::new(7);
    let link = message(RTM_NEWLINK, NLM_F_DUMP_INTR, 7, &[0; 16]);
    assert!(answers.take(&link, &mut |_| {}).is_continue());
    let done = message(NLMSG_DONE, 0, 7, &[0; 4]);
    let ControlFlow::Break(result) = answers.take(&done, &mut |_| {}) else {
        panic!("the end was not seen")
    };
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EINTR));
}

/// A TUN device's link message, with most of what the reader knows.
fn tun_link(kind: u16, family: u8) -> Vec<u8> {
    let mut header = link::header(crate::IfIndex::new(5), LinkFlags::UP, LinkFlags::empty());
    header[0] = family;
    let mut request = Request::new(kind, 0, &header);
    request.string(IFLA_IFNAME, b"tun0").u32(IFLA_MTU, 1500);
    request.attribute(IFLA_STATS64, &[1; 200]);
    request.nested(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_KIND, b"tun");
        info.nested(IFLA_INFO_DATA, |data| {
            data.attribute(IFLA_TUN_TYPE, &[1]).attribute(IFLA_TUN_PI, &[1]);
            data.u32(IFLA_TUN_OWNER, 1000);
        });
    });
    request.nested(IFLA_AF_SPEC, |spec| {
        spec.nested(10, |inet6| {
            inet6.attribute(8, &[3]);
        });
    });
    request.nested(IFLA_PROP_LIST, |list| {
        list.string(53, b"another-name");
    });
    request.finish(0).unwrap().to_vec()
}

fn event(bytes: &[u8]) -> Option<Event> {
    messages(bytes).next().and_then(|message| monitor::event(&message))
}

#[test]
fn links_are_read_and_ports_are_passed_over() {
    let Some(Event::LinkChanged(link)) = event(&tun_link(RTM_NEWLINK, 0)) else { panic!() };
    let tun = link.tun.unwrap();
    assert_eq!((link.mtu, tun.owner, tun.pi, tun.queues), (1500, Some(1000), true, None));
    assert_eq!(link.altnames, ["another-name"]);
    assert_eq!(link.stats.rx_packets, 0x0101_0101_0101_0101);
    assert!(matches!(event(&tun_link(RTM_DELLINK, 0)), Some(Event::LinkRemoved(_))));
    const AF_BRIDGE: u8 = 7;
    assert_eq!(event(&tun_link(RTM_DELLINK, AF_BRIDGE)), None);
}

#[test]
fn flags_read_as_ip_writes_them() {
    let flags = LinkFlags::UP | LinkFlags::POINTOPOINT | LinkFlags::NOARP | LinkFlags::MULTICAST;
    assert_eq!(flags.to_string(), "NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP");
    let running = flags | LinkFlags::RUNNING | LinkFlags::LOWER_UP;
    assert_eq!(running.to_string(), "POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP");
    assert_eq!(LinkFlags::from_bits_retain(1 << 31).to_string(), "");
}

/// Real answers of the kernel, and made-up messages with what a bare namespace does not have.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![tun_link(RTM_NEWLINK, 0)];
    let mut route = Request::new(RTM_NEWROUTE, 0, &[2, 24, 0, 0, 254, 77, 0, 1, 0, 0, 0, 0]);
    route.attribute(RTA_DST, &[192, 0, 2, 0]).attribute(RTA_VIA, &[10; 18]);
    route.nested(RTA_METRICS, |metrics| {
        metrics.u32(2, 1400);
    });
    route.nested(9, |hops| {
        hops.sized(&[4, 0, 1, 0, 0, 0], |hop| {
            hop.attribute(5, &[10; 4]);
        })
    });
    seeds.push(route.finish(0).unwrap().to_vec());
    let mut rule = Request::new(RTM_NEWRULE, 0, &[2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]);
    rule.u32(FRA_TABLE, 1000).attribute(20, &[0; 8]).u32(10, 7).u32(16, 255).string(3, b"lo");
    seeds.push(rule.finish(0).unwrap().to_vec());
    let mut address = Request::new(RTM_NEWADDR, 0, &[10, 64, 0, 0, 5, 0, 0, 0]);
    address.attribute(1, &[1; 16]).attribute(6, &[255; 16]).u32(8, 0x80);
    seeds.push(address.finish(0).unwrap().to_vec());
    let refusal = refusal(-22, &[0; 16], Some(b"no"));
    seeds.push(message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, 0, &refusal));

    let mut socket = Socket::open(None, ROUTE, 0).unwrap();
    for kind in [RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETRULE] {
        let mut request = Request::new(kind, NLM_F_DUMP, &[0; 16]);
        let bytes = request.finish(1).unwrap();
        rustix::net::send(&socket.fd, bytes, SendFlags::empty()).unwrap();
        while let Ok(datagram) = socket.recv(RecvFlags::DONTWAIT) {
            seeds.push(datagram[..datagram.len().min(4096)].to_vec());
        }
    }
    seeds
}

/// xorshift64*, good enough to break things.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// A seed with a few bytes changed, cut, or joined to another.
    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, 0),
                2 => bytes.extend_from_slice(&seeds[self.below(seeds.len())][..16]),
                _ if bytes.is_empty() => {}
                // Small numbers and all ones hurt lengths the most.
                3 => bytes[at] = [0, 1, 3, 4, 255][self.below(5)],
                _ => bytes[at] = self.byte(),
            }
        }
        bytes
    }
}

/// The resident memory of this process in KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

#[test]
fn no_bytes_make_the_reader_panic_or_grow() {
    let seeds = seeds();
    assert!(seeds.len() >= 7, "{}", seeds.len());
    let whole: usize = seeds.iter().map(|seed| decode_for_fuzzing(seed)).sum();
    assert!(whole >= 7, "{whole}");
    let mut random = Random(0x5eed_cafe_f00d_0001);
    let mut understood = 0;
    let mut before = 0;
    for round in 0..1_000_000 {
        let bytes = if round % 4 == 0 {
            (0..random.below(300)).map(|_| random.byte()).collect()
        } else {
            random.mutate(&seeds)
        };
        understood += decode_for_fuzzing(&bytes);
        if round == 100_000 {
            before = resident();
        }
    }
    assert!(understood > 10_000, "only {understood}: the mutations are too wild to mean much");
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more after 900,000 more inputs");
}

#[test]
fn what_crosses_to_another_process_comes_back() {
    fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
        let bytes = encode(value);
        assert_eq!(decode::<T>(&bytes).as_ref(), Some(value));
        assert!((0..bytes.len()).all(|len| decode::<T>(&bytes[..len]).is_none()));
    }
    let mut address = Address::new("2001:db8::1/64".parse().unwrap());
    address.peer = Some("2001:db8::2".parse().unwrap());
    address.valid_lifetime = Some(Duration::from_millis(1500));
    comes_back(&address);
    let mut rule = Rule::new(IpFamily::V6, RuleAction::Table(7));
    (rule.fwmark, rule.uid_range) = (Some(FwMark::from(9)), Some(3..=8));
    comes_back(&rule);
    comes_back(&Route {
        gateway: Some("192.0.2.1".parse().unwrap()),
        ..Route::new(IpPrefix::ALL_V4)
    });
    comes_back(&vec![Some(NamePattern::KERNEL), "tap%d".parse().ok(), None]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode::<Vec<Rule>>(&bytes), decode::<Vec<Route>>(&bytes), decode::<Address>(&bytes));
    }
}
