use crate::file::config::{PeerEndpoint, Table as RouteTable};
use crate::file::hide::hide_secrets;
use crate::file::toml::*;
use adit_service::config::problem::Problem;
use adit_tunnel::SuitePolicy;

const WHOLE: &str = r#"
[interface]
private_key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
listen_port = 51820
fwmark = 0xca6c
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
dns = ["192.0.2.53"]
dns_search = ["example.net"]
mtu = 1380
table = "off"
source = "192.0.2.9"

[hooks]
post_up = [["ip", "route", "add", "a b"], ["true"]]

[[peer]]
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
preshared_key = "/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak="
allowed_ips = ["10.192.124.1/24", "::/0"]
endpoint = "host.example:51820"
keepalive = 25
suite = "aes-128-gcm"
"#;

fn read_with(text: &str, hooks: HookPolicy) -> (Config, bool, Vec<Problem>) {
    let source = Source::new("site.toml", text);
    let problems = Problems::default();
    let (config, has_secret) = read(&source, &problems, hooks);
    problems.edit(hide_secrets);
    (config, has_secret, problems.into_list())
}

#[test]
fn all_of_it_is_read() {
    let (Config { interface, peers }, has_secret, problems) = read_with(WHOLE, HookPolicy::Run);
    assert!(problems.is_empty(), "{problems:?}");
    assert!(has_secret);
    assert!(interface.private_key.is_some());
    assert_eq!((interface.listen_port, interface.fwmark), (Some(51820), Some(0xca6c)));
    assert_eq!((interface.mtu, interface.table), (Some(1380), RouteTable::Off));
    assert_eq!(interface.source, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(interface.hooks.post_up[0].0, ["ip", "route", "add", "a b"]);
    let [peer] = &peers[..] else { panic!("{peers:?}") };
    assert_eq!(peer.allowed_ips[0].to_string(), "10.192.124.0/24");
    assert_eq!((peer.keepalive, peer.suite), (25, SuitePolicy::Aes128Gcm));
    let name = PeerEndpoint::Name { host: "host.example".to_owned(), port: 51820 };
    assert_eq!(peer.endpoint, Some(name));
}

#[test]
fn errors_have_places_and_print_no_key() {
    let text = WHOLE.replace("listen_port", "listen_prot").replace("Bmk=", "Bmk");
    let text = text.replace("keepalive = 25", "keepalive = 65536");
    let (_, _, problems) = read_with(&text, HookPolicy::Refuse);
    let places: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(3, 15), (4, 1), (14, 11), (21, 13)]);
    assert!(problems[1].help.as_ref().unwrap().contains("listen_port"));
    for problem in problems {
        assert!(!problem.to_string().contains("yAnz"), "{problem}");
    }
}

#[test]
fn each_slip_of_each_key_gets_a_suggestion() {
    for line in WHOLE.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        for at in 0..key.len() {
            let mut slip = key.to_owned();
            slip.remove(at);
            let text = WHOLE.replacen(line, &format!("{slip} = {value}"), 1);
            let (_, _, problems) = read_with(&text, HookPolicy::Run);
            let suggests =
                |p: &Problem| p.help.as_ref().is_some_and(|h| h.contains("did you mean"));
            assert!(problems.iter().any(suggests), "{slip}: {problems:?}");
        }
    }
}

#[test]
fn a_key_may_stand_in_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("adit-toml-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = folder.join("site.key");
    std::fs::write(&key, "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n").unwrap();
    let file = folder.join("site.toml");
    std::fs::write(&file, "[interface]\nprivate_key_file = \"site.key\"\n").unwrap();
    let read_file = || {
        let source = Source::read(&file).unwrap();
        let problems = Problems::default();
        let (config, has_secret) = read(&source, &problems, HookPolicy::Refuse);
        assert!(!has_secret, "the file itself has none");
        (config, problems.into_list())
    };
    let mode = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o600);
    let (config, problems) = read_file();
    assert!(config.interface.private_key.is_some(), "{problems:?}");
    mode(0o644);
    let (config, problems) = read_file();
    assert!(config.interface.private_key.is_none());
    assert!(problems[0].to_string().contains("chmod 600"), "{problems:?}");
    std::fs::remove_dir_all(folder).unwrap();
}
