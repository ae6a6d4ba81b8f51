use crate::file::conf::*;
use crate::file::config::{Hooks, PeerEndpoint, Table};
use crate::file::hide::hide_secrets;
use adit_service::config::problem::Problem;
use adit_tunnel::SuitePolicy;

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const SHARED: &str = "/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=";

/// What a file for wg-quick may have in it.
const WHOLE: &str = "\
# a road warrior
[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.192.122.3/32, 10.10.0.1/16
Address = 2001:db8::3/64   # the second line adds
DNS = 192.0.2.53, 2001:db8::53, example.net
ListenPort = 51820
FwMark = 0xca6c
MTU = 1380
Table = 1234
SaveConfig = true

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = /UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=
Endpoint = 192.95.5.67:1234
AllowedIPs = 10.192.122.3/32, 10.192.124.1/24

[peer]
publickey=TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=
ALLOWEDIPS=::/0
allowedips=0.0.0.0/0
endpoint=[2607:5300:60:6b0::c05f:543]:2468
PersistentKeepalive=25
";

#[test]
fn the_keys_of_what_is_served_and_logged() {
    let interface = |keys: &str| {
        let text = format!("[Interface]\nPrivateKey = {PRIVATE}\n{keys}\n");
        good(&text).interface
    };
    let both = interface("Page = 9587\nMetrics = 127.0.0.1:9587\nLog = tunnel=debug, host=warn");
    assert_eq!(both.metrics.unwrap().to_string(), "127.0.0.1:9587");
    assert_eq!(both.log.unwrap().to_string(), "tunnel=debug,host=warn");
    for (keys, has_page) in [("Metrics = 9587", false), ("page = 9587", true)] {
        assert_eq!(interface(keys).metrics.unwrap().has_page(), has_page);
    }
    let wrong = "[Interface]\nMetrics = 9586\nPage = 9587\nLog = loud\n";
    let found = mistakes(wrong);
    assert!(found.iter().any(|one| one.starts_with("3:8 ") && one.contains("share")), "{found:?}");
    assert!(found.iter().any(|one| one.starts_with("4:7 ")), "{found:?}");
}

fn read_with(text: &str, hooks: HookPolicy) -> (Config, Vec<Problem>) {
    let source = Source::new("site.conf", text);
    let problems = Problems::default();
    let config = read(&source, &problems, hooks);
    problems.edit(hide_secrets);
    (config, problems.into_list())
}

fn good(text: &str) -> Config {
    let (config, problems) = read_with(text, HookPolicy::Refuse);
    assert!(problems.is_empty(), "{problems:?}");
    config
}

/// `line:column message; help`
fn mistakes(text: &str) -> Vec<String> {
    let (_, problems) = read_with(text, HookPolicy::Refuse);
    let told = |p: &Problem| {
        let help = p.help.as_deref().map_or(String::new(), |help| format!("; {help}"));
        format!("{}:{} {}{help}", p.line, p.column, p.message)
    };
    problems.iter().map(told).collect()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_of_wg_quick_is_read_unchanged() {
    let Config { interface, peers } = good(WHOLE);
    assert_eq!(*interface.private_key.as_ref().unwrap().to_base64(), PRIVATE);
    assert_eq!(texts(&interface.addresses), ["10.192.122.3/32", "10.10.0.1/16", "2001:db8::3/64"]);
    assert_eq!(texts(&interface.dns), ["192.0.2.53", "2001:db8::53"]);
    assert_eq!(interface.dns_search, ["example.net"]);
    assert_eq!((interface.listen_port, interface.fwmark), (Some(51820), Some(0xca6c)));
    assert_eq!((interface.mtu, interface.table), (Some(1380), Table::Number(1234)));
    assert!(interface.save_config);
    let [one, two] = &peers[..] else { panic!("{peers:?}") };
    assert_eq!(*one.preshared_key.as_ref().unwrap().to_base64(), SHARED);
    assert_eq!(one.endpoint, Some(PeerEndpoint::Address("192.95.5.67:1234".parse().unwrap())));
    assert_eq!(texts(&one.allowed_ips), ["10.192.122.3/32", "10.192.124.0/24"]);
    assert_eq!(texts(&two.allowed_ips), ["::/0", "0.0.0.0/0"]);
    assert_eq!((one.keepalive, two.keepalive), (0, 25));
}

#[test]
fn line_ends_and_marks_of_other_systems_are_read() {
    let config = good(WHOLE);
    assert_eq!(good(&WHOLE.replace('\n', "\r\n")), config);
    assert_eq!(good(&format!("\u{feff}{WHOLE}")), config);
    assert_eq!(good(WHOLE.trim_end()), config, "no line end at the end");
    assert_eq!(good(""), Config::default());
}

#[test]
fn all_errors_have_place_and_remedy() {
    let text = "\
Address = 192.0.2.1/24
[Interfce]
Whatever = 1
[Interface]
PrivateKye = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Adress = 192.0.2.1/24
Address = 192.0.2.1/24, 192.0.2.300
AllowedIPs = 0.0.0.0/0
MTU = 14000000
MTU = 1400
PostUp = iptables -A FORWARD -i %i -j ACCEPT
nonsense
[Peer]
Endpoint = 192.0.2.9
";
    assert_eq!(
        mistakes(text),
        [
            "1:1 setting outside of a section; start a section with [Interface] or [Peer]",
            "2:1 unknown section; did you mean [Interface]?",
            "5:1 unknown setting 'PrivateKye'; did you mean PrivateKey?",
            "6:1 unknown setting 'Adress'; did you mean Address?",
            "7:25 write an address and a prefix length, as 192.0.2.1/24 or 2001:db8::/32",
            "8:1 unknown setting 'AllowedIPs'; AllowedIPs belongs to [Peer]",
            "9:7 expected an MTU from 68 to 65535",
            "10:1 MTU is given twice; its first value is at line 9",
            "11:10 PostUp runs a program, which is not allowed; allow it with --hooks run, or leave it out \
             with --hooks skip",
            "12:1 not a setting; write KEY = VALUE, [Interface], [Peer], or a comment after #",
            "13:1 this peer has no PublicKey",
            "14:12 the port is missing: did you mean 192.0.2.9:51820?",
        ]
    );
}

#[test]
fn a_peer_is_there_once() {
    let peer = "[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n";
    assert_eq!(
        mistakes(&peer.repeat(2)),
        ["3:1 duplicate peer; its first section has its key at line 2: merge the two sections"]
    );
}

#[test]
fn hooks_are_run_skipped_or_refused() {
    let text = "[Interface]\nPostUp = ip route add 'a b'\nPreDown = echo\nPostUp = b\n";
    let (config, problems) = read_with(text, HookPolicy::Run);
    assert!(problems.is_empty());
    assert_eq!(config.interface.hooks.post_up[0].0, ["ip", "route", "add", "a b"]);
    assert_eq!(config.interface.hooks.post_up.len(), 2);
    let (config, problems) = read_with(text, HookPolicy::Skip);
    assert!(problems.is_empty() && config.interface.hooks == Hooks::default());
    assert_eq!(mistakes(text).len(), 3);
    let (_, problems) = read_with("[Interface]\nPostUp = a; b\n", HookPolicy::Run);
    assert!(problems[0].message.contains("needs a shell"), "{problems:?}");
}

/// Every key of the file with a letter left out, doubled, or two swapped: a place and a suggestion.
#[test]
fn each_slip_of_each_key_gets_a_suggestion() {
    let mut slips = 0;
    for (number, line) in WHOLE.lines().enumerate() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim_end();
        for at in 0..key.len() {
            let mut doubled = key.to_owned();
            doubled.insert(at, key.as_bytes()[at].into());
            let mut without = key.to_owned();
            without.remove(at);
            let mut swapped = key.as_bytes().to_vec();
            swapped.swap(at, (at + 1).min(key.len() - 1));
            for slip in [doubled, without, String::from_utf8(swapped).unwrap()] {
                if slip.eq_ignore_ascii_case(key) {
                    continue;
                }
                let text = WHOLE.replacen(line, &format!("{slip} ={value}"), 1);
                let (_, problems) = read_with(&text, HookPolicy::Refuse);
                let problem = problems.iter().find(|p| p.line == number + 1).expect(&slip);
                assert_eq!(problem.column, 1, "{slip}");
                assert!(problem.help.as_ref().unwrap().starts_with("did you mean "), "{slip}");
                slips += 1;
            }
        }
    }
    assert!(slips > 300, "{slips}");
}

/// Bytes lost, added and changed anywhere: no panic, and no key in the messages.
#[test]
fn no_mutation_panics_or_prints_a_key() {
    let check = |text: &str| {
        let (_, problems) = read_with(text, HookPolicy::Run);
        for problem in problems {
            let told = problem.to_string();
            for secret in [PRIVATE, SHARED] {
                for part in [&secret[..22], &secret[22..]] {
                    assert!(!told.contains(part), "{told}");
                }
            }
        }
    };
    for at in 0..WHOLE.len() {
        check(&WHOLE[..at]);
        check(&WHOLE[at..]);
        for new in ["", "\n", "=", "[", "#", "\0", "ü", ",", "\u{feff}"] {
            check(&format!("{}{new}{}", &WHOLE[..at], &WHOLE[at + 1..]));
            check(&format!("{}{new}{}", &WHOLE[..at], &WHOLE[at..]));
        }
    }
}

#[test]
fn many_peers_take_no_long_time() {
    let mut text = String::from("[Interface]\n");
    for number in 0_u32..8000 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        text += &format!(
            "[Peer]\nPublicKey = {}\nAllowedIPs = 10.0.0.0/8\n",
            PublicKey(key).to_base64().as_str()
        );
    }
    assert_eq!(good(&text).peers.len(), 8000);
}

#[test]
fn the_suite_of_a_peer_is_a_key_of_our_own() {
    let suite = |line: &str| good(&format!("{WHOLE}{line}")).peers[1].suite;
    assert_eq!(suite(""), SuitePolicy::Auto);
    assert_eq!(suite("Suite = AES-256-GCM\n"), SuitePolicy::Aes256Gcm);
    assert_eq!(suite("suite=wireguard\n"), SuitePolicy::WireGuard);
    let [problem] = &mistakes(&format!("{WHOLE}Suite = aes\n"))[..] else { panic!("one") };
    assert!(problem.contains("`auto`, `wireguard`, `aes-128-gcm` or `aes-256-gcm`"), "{problem}");
}
