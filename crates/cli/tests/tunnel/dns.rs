//! Name servers, with the `resolvconf` of Debian: it ignores `-x`, and orders its records by their names.

use crate::support::{ADIT, bare, run};
use crate::world::{Running, World, wait_for};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

/// What Debian's does with its records, in the order of its list, whatever options follow the name.
const RESOLVCONF: &str = r#"#!/bin/bash
set -e
shopt -s nullglob extglob
mkdir -p /run/resolvconf/interface
cd /run/resolvconf/interface
records() {
  local pattern record seen=" "
  while read -r pattern; do
    for record in $pattern; do
      [[ -s $record && $seen != *" $record "* ]] && echo "$record"
      seen+="$record "
    done
  done < <(grep -v '^#' /etc/resolvconf/interface-order)
}
case $1 in
  -a) cat >"$2" ;;
  -d) rm -f "$2" ;;
  -i) echo $(records); exit 0 ;;
  *) exit 99 ;;
esac
mapfile -t all < <(records)
[ ${#all[@]} = 0 ] || sed -n 's/^nameserver //p' "${all[@]}" | awk '!seen[$0]++ { print "nameserver", $0 }' |
  head -3 >/run/resolvconf/new
mv /run/resolvconf/new /run/resolvconf/resolv.conf
"#;

/// The beginning of Debian's list, and its end.
const ORDER: &str = "# interface-order(5)
lo.inet6
lo.inet
lo.@(dnsmasq|pdnsd)
lo.!(pdns|pdns-recursor)
lo
tun*
tap*
@(br|eth)*([^.]).inet
@(br|eth)*
*
";

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Debian's `resolvconf` on a machine whose network has a server, in the test's own `/etc`.
pub(crate) fn install(world: &World) -> String {
    run("mkdir /run/upper /run/work");
    run("mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc");
    let program = world.folder.join("resolvconf");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o755).open(&program).unwrap();
    std::io::Write::write_all(&mut { file }, RESOLVCONF.as_bytes()).unwrap();
    std::fs::create_dir_all("/etc/resolvconf").unwrap();
    std::fs::write("/etc/resolvconf/interface-order", ORDER).unwrap();
    std::fs::remove_file(RESOLV_CONF).unwrap();
    symlink("/run/resolvconf/resolv.conf", RESOLV_CONF).unwrap();
    let record = world.write("record", "nameserver 192.0.2.53\n");
    let mut add = bare(&program);
    add.args(["-a", "eth0.inet"]).stdin(std::fs::File::open(record).unwrap());
    assert!(add.status().unwrap().success());
    assert_eq!(servers(), "nameserver 192.0.2.53\n");
    format!("{}:{}", world.folder.display(), std::env::var("PATH").unwrap())
}

fn servers() -> String {
    std::fs::read_to_string(RESOLV_CONF).unwrap()
}

/// The servers of the tunnel come first while it runs; that those of the network stay is warned of. What a
/// killed tunnel left is removed by `down`.
#[test]
fn name_servers_of_a_tunnel_come_first_with_debians_resolvconf() {
    let world = World::new();
    let path = install(&world);
    let (a, _) = world.pair("192.0.2.2:51820", [("DNS = 10.9.0.2", ""), ("", "")]);
    let log = world.folder.join("log");
    let start = || {
        let mut up = bare(ADIT);
        up.args(["-n", &world.a.path(), "tunnel", "up"]).arg(&a).env("PATH", &path);
        up.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let running = Running(up.spawn().unwrap());
        let is_up = |text: String| text.lines().any(|line| line == "up");
        wait_for("it is up", || is_up(std::fs::read_to_string(&log).unwrap()));
        running
    };
    let down = || {
        let mut down = bare(ADIT);
        down.args(["-n", &world.a.path(), "tunnel", "down", "ta"]).env("PATH", &path);
        assert!(down.status().unwrap().success());
    };
    let _ta = start();
    assert_eq!(servers(), "nameserver 10.9.0.2\nnameserver 192.0.2.53\n");
    let warning = "warning: name servers: /etc/resolv.conf lists 192.0.2.53 as well: ";
    assert!(std::fs::read_to_string(&log).unwrap().contains(warning));
    down();
    assert_eq!(servers(), "nameserver 192.0.2.53\n");
    start().kill();
    assert!(Path::new("/run/resolvconf/interface/tun.ta").exists());
    down();
    assert_eq!(servers(), "nameserver 192.0.2.53\n");

    // A record of the loopback goes before, whatever its program has said.
    let local = world.write("record", "nameserver 127.0.0.9\n");
    std::fs::copy(local, "/run/resolvconf/interface/lo.inet").unwrap();
    let _ta = start();
    assert!(servers().starts_with("nameserver 127.0.0.9\n"), "{}", servers());
    let warning = "warning: name servers: /etc/resolv.conf lists 127.0.0.9 first: ";
    assert!(std::fs::read_to_string(&log).unwrap().contains(warning));
    down();
}
