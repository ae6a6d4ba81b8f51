//! `adit capture -r`: recordings of this and other programs, shown and filtered as if captured now.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

#[expect(dead_code, reason = "the other test files use the rest")]
mod capture_support;

use capture_support::{Capture, adit, answers, output, run, sound_packets, world};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

const REPLY: &str = "--create --addr 192.0.2.1/24 --reply";

/// `adit capture -r FILE` with further words.
fn read(file: &Path, words: &str) -> Output {
    output(adit(&format!("capture -r {} {words}", file.display())).stdout(Stdio::piped()))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_recording_is_read_as_it_was_captured() {
    for mode in ["tun", "tap"] {
        world(move |folder| {
            let file = folder.join("a.pcapng");
            let words = format!("capture {mode}0 {REPLY} --mode {mode} -j -w {}", file.display());
            let capture = Capture::start(adit(&words).stdout(Stdio::piped()));
            assert!(answers("192.0.2.77"));
            let (live, _) = capture.stop();
            assert!(live.contains("echo reply"), "{live}");
            assert_eq!(text(&read(&file, "-j")), live);

            // Filters, limits, another recording, and what tcpdump and a pipe make of it.
            let icmp = text(&read(&file, "icmp"));
            let count = icmp.lines().count();
            assert!(count >= 2 && icmp.lines().all(|line| line.contains(" ICMP ")), "{icmp}");
            assert!(icmp.contains(" > ICMP   192.0.2.1 > 192.0.2.77"), "{icmp}");
            assert_eq!(text(&read(&file, "-c 1 icmp")).lines().count(), 1);
            assert!(text(&read(&file, "-x -v icmp")).contains("0x0000:"));
            let part = folder.join("part.pcapng");
            let out = read(&file, &format!("-w {} icmp", part.display()));
            assert!(
                String::from_utf8_lossy(&out.stderr).contains(&format!("{count} packets read"))
            );
            assert_eq!(sound_packets(&part), u64::try_from(count).unwrap());
            assert_eq!(text(&read(&part, "")), icmp);
            let classic = folder.join("classic.pcap");
            run(
                "tshark",
                &["-F", "nsecpcap", "-r", file.to_str().unwrap(), "-w", classic.to_str().unwrap()],
            );
            let without = |text: &str| {
                text.replace([" > ", " < "].map(|mark| mark.chars().nth(1).unwrap()), " ")
            };
            assert_eq!(without(&text(&read(&classic, "icmp"))), without(&icmp));
            let mut piped = adit("capture -r - icmp");
            let piped = piped.stdin(File::open(&file).unwrap()).output().unwrap();
            assert_eq!(text(&piped), icmp);
        });
    }
}

#[test]
fn times_are_local_with_their_offset_in_detail_and_json() {
    world(|folder| {
        // 2026-11-22 04:13:20 UTC, one packet of 20 bytes without an Ethernet header.
        let mut file =
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0".to_vec();
        for word in [1_795_320_800_u32, 123_456, 20, 20] {
            file.extend(word.to_le_bytes());
        }
        file.extend(b"\x45\0\0\x14\0\0\0\0\x40\xfd\0\0\xc0\0\x02\x01\xc0\0\x02\x02");
        let path = folder.join("a.pcap");
        std::fs::write(&path, file).unwrap();
        let show = |words: &str| {
            let words = format!("capture -r {} {words}", path.display());
            text(&output(adit(&words).env("TZ", "XYZ-5:30").stdout(Stdio::piped())))
        };
        assert!(show("").starts_with("09:43:20.123456 "), "{}", show(""));
        assert!(show("-v").starts_with("09:43:20.123456+05:30 "), "{}", show("-v"));
        let json: Value = serde_json::from_str(&show("-j")).unwrap();
        assert_eq!(json["time"], "2026-11-22T09:43:20.123456000+05:30");
    });
}

#[test]
fn what_is_no_recording_is_an_error() {
    world(|folder| {
        let bad = folder.join("bad");
        std::fs::write(&bad, "no recording at all, but text").unwrap();
        let cooked = folder.join("cooked.pcap");
        let mut file =
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x71\0\0\0".to_vec();
        file.extend([[1_u32, 0], [4, 4]].concat().iter().flat_map(|word| word.to_le_bytes()));
        file.extend([7; 4]);
        std::fs::write(&cooked, file).unwrap();
        let (bad, cooked) = (bad.display(), cooked.display());
        for (words, code, part) in [
            (format!("-r {bad}"), 7, "neither a pcap nor a pcapng file"),
            ("-r /nosuch".to_owned(), 4, "/nosuch"),
            (format!("-r {cooked} icmp and ("), 0, "1 not shown: link type 113"),
            (format!("-r {bad} -i lo"), 2, "cannot be used with"),
            (format!("-r {bad} --reply"), 2, "cannot be used with"),
        ] {
            let output = output(&mut adit(&format!("capture {words}")));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{words}: {stderr}");
            assert!(stderr.contains(part), "{words}: {stderr}");
        }
    });
}
