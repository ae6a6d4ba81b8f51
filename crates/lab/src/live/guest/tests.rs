use super::*;
use crate::owned::Source;

const LAB: &str = r#"
[host.pc]
[router.gw]
[switch.lan]
[guest.vm]
kernel = "/boot/vmlinuz,1"
append = "quiet"
disk = "/srv/a,b.img"
[guest.own]
kernel = "/boot/vmlinuz"
append = "console=hvc0 ip=dhcp"
arguments = ["-accel", "tcg"]
[[link]]
ends = ["gw", "lan"]
[[link]]
ends = ["vm", "lan"]
[[link]]
ends = ["own", "lan"]
[[link]]
ends = ["gw", "pc"]
"#;

fn words(name: &str) -> Vec<String> {
    let plan = Source::Text(LAB).plan().unwrap();
    let sockets = Sockets::beside(Path::new("/run/a,b/office.sock"), PortFiles::default());
    let name = name.parse().unwrap();
    sockets.program(&plan, &name, NodeKey(3)).unwrap().0.words
}

fn after<'a>(words: &'a [String], option: &str) -> Vec<&'a str> {
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| &*pair[1]).collect()
}

#[test]
fn a_guest_gets_its_addresses_a_console_and_paths_with_commas() {
    let words = words("vm");
    let line = "quiet console=ttyS0 ip=10.0.0.1::10.0.0.254:255.255.255.0:vm:eth0:none";
    assert_eq!(after(&words, "-append"), [line.replace("ttyS0", &CONSOLE[8..])]);
    assert_eq!(after(&words, "-kernel"), ["/boot/vmlinuz,1"]);
    assert_eq!(after(&words, "-drive"), ["file=/srv/a,,b.img,if=virtio,snapshot=on"]);
    let console = after(&words, "-chardev")[0];
    assert!(console.contains("path=/run/a,,b/office.guest-tty-3,server=on"), "{console}");
    let card = after(&words, "-netdev")[0];
    assert!(card.contains("addr.path=/run/a,,b/office.guest-02"), "{card}");
    assert_eq!(after(&words, "-accel").last(), Some(&"tcg"));
}

#[test]
fn what_a_file_gives_replaces_what_is_usual() {
    let words = words("own");
    assert_eq!(after(&words, "-append"), ["console=hvc0 ip=dhcp"]);
    assert_eq!(after(&words, "-accel"), ["tcg"]);
}
