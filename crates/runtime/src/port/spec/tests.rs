use crate::port::kinds::device::DeviceSpec;
use crate::port::kinds::pcap::PcapSpec;
use crate::port::kinds::unix::{UnixRole, UnixSpec};
use crate::port::kinds::vxlan::VxlanSpec;
use crate::port::spec::*;
use adit_device::Mode;

fn ok(text: &str) -> PortSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn wrong(text: &str) -> SpecError {
    text.parse::<PortSpec>().expect_err(text)
}

#[test]
fn a_tap_takes_its_keys_and_hands_the_others_on() {
    let spec = ok("tap:a%d,netns=blue,vlan=5,persist,isolated,mtu=9000,mac=02:00:00:00:00:01");
    let device: &DeviceSpec = spec.options().unwrap();
    assert_eq!(device.mode, Mode::Tap);
    assert_eq!(device.name.to_string(), "a%d");
    assert_eq!(device.netns.as_deref(), Some("blue"));
    assert_eq!((device.persist, device.mtu), (Some(true), Some(9000)));
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    assert_eq!(spec.rest, [pair("vlan", Some("5")), pair("isolated", None)]);
}

#[test]
fn unix_sockets_have_three_roles() {
    let role = |text| ok(text).options::<UnixSpec>().unwrap().role.clone();
    assert_eq!(role("unix:/s"), UnixRole::Listen);
    assert_eq!(role("unix:/s,type=stream,connect"), UnixRole::Connect);
    assert_eq!(role("unix:/s,type=dgram"), UnixRole::Datagram { remote: None });
    let remote = Some("/r,1".into());
    assert_eq!(role("unix:/s,type=dgram,remote=/r,,1"), UnixRole::Datagram { remote });
    assert_eq!(wrong("unix:/s,type=dgram,connect").at, "unix:/s,type=".len());
    assert_eq!(wrong("unix:/s,remote=/r").at, "unix:/s,remote=".len());
    assert!(wrong("unix:/s,type=seqpacket").to_string().contains("'type=dgram'"));
}

#[test]
fn vxlan_has_remotes_of_one_family() {
    let spec = ok("vxlan:192.0.2.1+192.0.2.2,vni=42,local=192.0.2.9");
    let spec: &VxlanSpec = spec.options().unwrap();
    assert_eq!((spec.remotes.len(), spec.vni, spec.port), (2, 42, 4789));
    let spec = ok("vxlan:[2001:db8::1],port=8472");
    let spec: &VxlanSpec = spec.options().unwrap();
    assert_eq!((spec.remotes[0].to_string().as_str(), spec.port), ("2001:db8::1", 8472));
    for text in [
        "vxlan:192.0.2.1+2001:db8::1",
        "vxlan:192.0.2.1+192.0.2.1",
        "vxlan:192.0.2.1,local=2001:db8::1",
        "vxlan:192.0.2.1,vni=16777216",
        "vxlan:192.0.2.1,port=65536",
        "vxlan:host",
        "vxlan:",
    ] {
        wrong(text);
    }
    let many: Vec<_> = (0..65).map(|i| format!("10.0.0.{i}")).collect();
    wrong(&format!("vxlan:{}", many.join("+")));
}

#[test]
fn a_recording_has_a_speed() {
    let spec = ok("pcap:/f.pcap,speed=2.5,loop");
    let spec: &PcapSpec = spec.options().unwrap();
    assert_eq!((spec.speed, spec.repeat), (2.5, true));
    for speed in ["0", "-1", "nan", "inf", "fast", ""] {
        wrong(&format!("pcap:/f,speed={speed}"));
    }
}

#[test]
fn mistakes_say_where_and_what_helps() {
    assert_eq!(wrong("tpa:a").hint.unwrap(), "did you mean 'tap:NAME'?".to_owned());
    assert_eq!(wrong("tap").hint.unwrap(), "write tap:NAME");
    assert_eq!(wrong("tap:a,mtu=big").at, "tap:a,mtu=".len());
    assert_eq!(wrong("tap:a,mtu=1,mtu=2").message, "'mtu' is given twice");
    assert_eq!(wrong("tap:a,netns").hint.unwrap(), "write netns=...");
    assert!(wrong("tap:a_very_long_name_indeed").message.contains("not a name"));
    assert!(wrong("tap:a,persist=maybe").message.contains("neither on nor off"));
    assert!(wrong("stdio:x").message.contains("takes no argument"));
    for text in ["", ",", "::", "=", "vxlan:+", "é:ü,ß=ö"] {
        wrong(text);
    }
    ok("stdio");
    ok("dev:eth0,netns=1");
}

#[test]
fn every_key_of_a_kind_is_taken() {
    let values = [
        ("netns", "x"),
        ("user", "0"),
        ("group", "0"),
        ("mac", "02:00:00:00:00:01"),
        ("mtu", "1500"),
        ("txqueuelen", "10"),
        ("persist", "on"),
        ("type", "dgram"),
        ("connect", "off"),
        ("remote", "/x"),
        ("vni", "1"),
        ("port", "1"),
        ("local", "192.0.2.1"),
        ("speed", "1"),
        ("loop", "on"),
    ];
    let starts = ["tap:a", "tun:a", "dev:a", "unix:/a", "vxlan:192.0.2.2", "stdio", "pcap:/a"];
    for start in starts {
        let kind = start.split(':').next().unwrap();
        let keys = KINDS.iter().find(|one| one.prefix == kind).unwrap().keys;
        let keys = keys.iter().map(|key| key.name).map(|key| {
            let value = values.iter().find(|(name, _)| *name == key).unwrap().1;
            format!(",{key}={value}")
        });
        let spec = ok(&format!("{start}{}", keys.collect::<String>()));
        assert!(spec.rest.is_empty(), "{spec:?}");
    }
}

#[test]
fn each_path_of_a_port_is_relative_to_its_file() {
    let text = "unix:a.sock,type=dgram,remote=b.sock";
    let mut spec: PortSpec = text.parse().unwrap();
    spec.change_path(|path| Path::new("/lab").join(path));
    let whole: PortSpec = "unix:/lab/a.sock,type=dgram,remote=/lab/b.sock".parse().unwrap();
    assert_eq!(spec, whole);
}
