use super::*;
use crate::NameError;
use crate::holders::{Holder, Holders};
use std::collections::HashSet;

#[test]
fn every_code_is_unique_and_documented() {
    let mut codes = HashSet::new();
    let mut titles = HashSet::new();
    for entry in Cause::CATALOG {
        let number = entry.code.strip_prefix("ADIT-E").expect(entry.code);
        assert!(number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()), "{}", entry.code);
        assert!(codes.insert(entry.code), "{} is given out twice", entry.code);
        assert!(titles.insert(entry.title), "{}: {:?} is said twice", entry.code, entry.title);
        assert!(entry.title.len() > 4 && !entry.title.ends_with('.'), "{}", entry.title);
        for text in [entry.explanation, entry.remedy] {
            assert!(text.len() > 4 && text.ends_with('.'), "{}: {text:?}", entry.code);
            assert!(
                !text.starts_with(|first: char| first.is_lowercase()) || text.starts_with("adit")
            );
        }
        for text in [entry.title, entry.explanation, entry.remedy] {
            assert!(!text.contains("  ") && !text.contains('\n'), "{}: {text:?}", entry.code);
        }
    }
    let (names, rest) = Cause::CATALOG.split_at(5);
    assert!(names.is_sorted_by_key(|entry| entry.code));
    assert!(rest.is_sorted_by_key(|entry| entry.code));
}

#[test]
fn a_cause_is_its_entry() {
    let names = [
        (NameError::Empty, "ADIT-E0201"),
        (NameError::TooLong { len: 16 }, "ADIT-E0202"),
        (NameError::Dots, "ADIT-E0203"),
        (NameError::Byte { byte: b'/' }, "ADIT-E0204"),
        (NameError::Percent, "ADIT-E0205"),
    ];
    for (error, code) in names {
        let cause = Cause::Name(error);
        assert_eq!((cause.code(), cause.kind()), (code, ErrorKind::InvalidName));
        assert!(!cause.remedy().is_empty());
        assert_eq!(Cause::explain(code), Some(cause.entry()));
    }
    assert_eq!(Cause::LinkDown.code(), "ADIT-E0401");
    assert_eq!(Cause::LinkDown.to_string(), "the link is down");
    assert_eq!(Cause::LinkDown.remedy(), "Set it up: `adit dev set NAME --up`.");
}

#[test]
fn codes_are_found_as_people_write_them() {
    for code in ["ADIT-E0401", "adit-e0401", "E0401", "e0401"] {
        assert_eq!(Cause::explain(code), Some(Cause::LinkDown.entry()), "{code}");
    }
    assert_eq!(Cause::explain("E0000"), None);
    assert_eq!(Cause::explain(""), None);
}

#[test]
fn holders_are_named() {
    let holder = |pid| Holder { pid, command: "vpn".into(), fds: vec![3] };
    let text = |count, partial| {
        let list = (1..=count).map(holder).collect();
        Cause::InUse { holders: Holders { list, partial } }.to_string()
    };
    let open = "the device has a single queue, which is open in ";
    assert_eq!(text(0, true), format!("{open}an unknown process"));
    assert_eq!(text(1, false), format!("{open}process 1 (vpn)"));
    let three = "process 1 (vpn), process 2 (vpn), process 3 (vpn)";
    assert_eq!(
        text(5, true),
        format!("{open}{three} and 2 more (some processes could not be inspected)")
    );
    let one = Cause::InUse { holders: Holders { list: vec![holder(7)], partial: false } };
    assert!(one.remedy().contains("`kill 7`"), "{}", one.remedy());
    let own = Holders { list: vec![holder(std::process::id())], partial: false };
    let remedy = Cause::InUse { holders: own }.remedy();
    assert!(!remedy.contains("kill") && remedy.contains("itself"), "{remedy}");
}

#[test]
fn flags_are_named() {
    let text = Cause::FlagsUnknown { flags: 0x50 }.to_string();
    assert_eq!(text, "the tun driver of this kernel lacks IFF_NAPI and IFF_NO_CARRIER");
}
