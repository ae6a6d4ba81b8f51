use crate::format::pcapng::*;
use std::process::Command;

fn writer() -> Writer {
    Writer { hardware: "x86_64".into(), os: "Linux".into(), application: "adit 1".into() }
}

fn interface(link_type: LinkType, filter: Option<&str>) -> Interface {
    Interface {
        name: "tun0".into(),
        link_type,
        snap_len: 0x4_0000,
        filter: filter.map(str::to_owned),
    }
}

#[test]
fn a_section_header_byte_by_byte() {
    let mut out = Vec::new();
    section_header(&mut out, &writer());
    #[rustfmt::skip]
    let expected = [
        0x0a, 0x0d, 0x0d, 0x0a, 68, 0, 0, 0, // type, length
        0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, // byte order, version 1.0
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // section length unknown
        2, 0, 6, 0, b'x', b'8', b'6', b'_', b'6', b'4', 0, 0, // two bytes of padding
        3, 0, 5, 0, b'L', b'i', b'n', b'u', b'x', 0, 0, 0, // three
        4, 0, 6, 0, b'a', b'd', b'i', b't', b' ', b'1', 0, 0,
        0, 0, 0, 0, // end of options
        68, 0, 0, 0,
    ];
    assert_eq!(out, expected);
}

#[test]
fn an_interface_description_byte_by_byte() {
    let mut out = Vec::new();
    interface_description(&mut out, &interface(LinkType::Raw, Some("icmp")));
    #[rustfmt::skip]
    let expected = [
        1, 0, 0, 0, 52, 0, 0, 0,
        101, 0, 0, 0, 0, 0, 4, 0, // RAW, snap length 262144
        2, 0, 4, 0, b't', b'u', b'n', b'0', // no padding
        9, 0, 1, 0, 9, 0, 0, 0, // nanoseconds
        11, 0, 5, 0, 0, b'i', b'c', b'm', b'p', 0, 0, 0,
        0, 0, 0, 0,
        52, 0, 0, 0,
    ];
    assert_eq!(out, expected);
}

#[test]
fn a_packet_byte_by_byte() {
    let mut out = Vec::new();
    let meta = Meta {
        time: Duration::from_nanos(0x0102_0304_0506_0708),
        direction: Some(Direction::Out),
        original_len: 1500,
        lost_before: 3,
    };
    enhanced_packet(&mut out, &meta, &[0x45]);
    #[rustfmt::skip]
    let expected = [
        6, 0, 0, 0, 60, 0, 0, 0,
        0, 0, 0, 0, // interface 0
        4, 3, 2, 1, 8, 7, 6, 5, // time, higher half first
        1, 0, 0, 0, 0xdc, 5, 0, 0, // captured, original
        0x45, 0, 0, 0,
        2, 0, 4, 0, 2, 0, 0, 0, // outbound
        4, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, // lost
        0, 0, 0, 0,
        60, 0, 0, 0,
    ];
    assert_eq!(out, expected);

    out.clear();
    enhanced_packet(&mut out, &Meta { direction: None, lost_before: 0, ..meta }, &[1, 2, 3, 4]);
    assert_eq!(out.len(), 36, "without options there is no end of options");
}

#[test]
fn statistics_byte_by_byte() {
    let mut out = Vec::new();
    let statistics = Statistics {
        start: Duration::from_nanos(1),
        end: Duration::from_nanos(1 << 32 | 2),
        received: Some(9),
        dropped: 4,
        accepted: 5,
        delivered: 3,
    };
    interface_statistics(&mut out, &statistics, "a");
    #[rustfmt::skip]
    let expected = [
        5, 0, 0, 0, 108, 0, 0, 0,
        0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
        1, 0, 1, 0, b'a', 0, 0, 0,
        2, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0,
        3, 0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0,
        4, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0,
        5, 0, 8, 0, 4, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0,
        8, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0,
        108, 0, 0, 0,
    ];
    assert_eq!(out, expected);
}

#[test]
fn whole_blocks_end_at_a_boundary() {
    let mut out = Vec::new();
    section_header(&mut out, &writer());
    let header = out.len();
    enhanced_packet(&mut out, &Meta::default(), &[0; 5]);
    let first = out.len();
    enhanced_packet(&mut out, &Meta::default(), &[0; 9]);
    for len in 0..=out.len() {
        let expected = match len {
            len if len >= out.len() => (out.len(), 2),
            len if len >= first => (first, 1),
            len if len >= header => (header, 0),
            _ => (0, 0),
        };
        assert_eq!(whole_blocks(&out, len), expected, "{len}");
    }
    assert_eq!(whole_blocks(&[0; 64], 64), (0, 0), "a block of length 0 does not loop");
}

#[test]
fn an_option_too_long_is_cut() {
    let mut out = Vec::new();
    let filter = "x".repeat(70_000);
    interface_description(&mut out, &interface(LinkType::Raw, Some(&filter)));
    assert_eq!(whole_blocks(&out, out.len()), (out.len(), 0));
    assert!(out.len() < 66_000);
}

/// One ICMP echo request over IPv4, with right checksums.
const PING: [u8; 28] = [
    0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 1, 0xb6, 0x95, 192, 0, 2, 1, 192, 0, 2, 77, //
    8, 0, 0xf7, 0xfb, 0, 1, 0, 3,
];

/// Runs a program of Wireshark's and gives what it prints, having checked that it is content.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn wireshark_reads_every_field() {
    let mut out = Vec::new();
    section_header(&mut out, &writer());
    interface_description(&mut out, &interface(LinkType::Raw, Some("icmp or udp")));
    let meta = Meta {
        time: Duration::new(1_700_000_000, 123_456_789),
        direction: Some(Direction::In),
        original_len: PING.len(),
        lost_before: 7,
    };
    enhanced_packet(&mut out, &meta, &PING);
    enhanced_packet(&mut out, &Meta { direction: Some(Direction::Out), ..meta }, &PING[..25]);
    let statistics =
        Statistics { start: meta.time, end: meta.time, delivered: 2, ..Default::default() };
    interface_statistics(&mut out, &statistics, "the end");
    let path = std::env::temp_dir().join(format!("adit-pcapng-{}.pcapng", std::process::id()));
    std::fs::write(&path, &out).unwrap();
    let file = path.to_str().unwrap();

    let fields = run(
        "tshark",
        &[
            "-r",
            file,
            "-Tfields",
            "-eframe.time_epoch",
            "-eframe.interface_name",
            "-eframe.packet_flags_direction",
            "-eframe.drop_count",
            "-eframe.len",
            "-eframe.cap_len",
            "-eip.dst",
            "-eicmp.checksum.status",
            "-eicmp.seq",
        ],
    );
    let lines: Vec<_> = fields.lines().collect();
    let expected = "1700000000.123456789\ttun0\t0x00000001\t7\t28\t28\t192.0.2.77\t1\t3";
    assert_eq!(lines[0], expected);
    assert!(lines[1].contains("\t0x00000002\t7\t28\t25\t"), "{}", lines[1]);
    assert_eq!(run("tshark", &["-r", file, "-Y", "frame.number == 1 && _ws.malformed"]), "");

    let info = run("capinfos", &["-M", file]);
    for part in ["adit 1", "x86_64", "Name = tun0", "Filter string = icmp or udp", "nanoseconds"] {
        assert!(info.contains(part), "no {part:?} in {info}");
    }
    // After every block the file is valid.
    let mut end = 0;
    while end < out.len() {
        let (next, _) = (end + 1..=out.len())
            .map(|len| whole_blocks(&out[..len], len))
            .find(|(boundary, _)| *boundary > end)
            .unwrap();
        std::fs::write(&path, &out[..next]).unwrap();
        run("capinfos", &[file]);
        end = next;
    }
    std::fs::remove_file(path).unwrap();
}
