//! `adit switch` in a guest: what it lets the kernel do, it lets that of Debian do (6.1 in Debian 12, without tcx).

use crate::guest::{Folder, Guest, Nic};
use crate::support::{ADIT, parse, run};
use std::io::Write;
use std::net::TcpListener;

/// Copies a file of ours into the guest, by the TAP.
fn copy(guest: &mut Guest, from: &str, to: &str) {
    let bytes = std::fs::read(from).unwrap();
    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&bytes));
    let folder = to.rsplit_once('/').unwrap().0;
    let told = guest.run(&format!(
        "mkdir -p {folder}; socat -u TCP:192.0.2.1:{port},retry=50 CREATE:{to}; chmod +x {to}"
    ));
    assert_eq!(told, "", "{to}");
    sender.join().unwrap().unwrap();
}

#[test]
fn debians_kernel_forwards_for_a_switch() {
    let Some(fixture) = crate::fixture() else { return };
    crate::support::enter();
    let folder = Folder::new("vm-kernel");
    let program = folder.path("adit").display().to_string();
    // Without what a debugger needs, which is most of it.
    run(&format!("strip -o {program} {ADIT}"));
    let mut guest = Guest::start(&fixture, "192.0.2.2", &Nic::Tap("vm0"));
    run("ip addr add 192.0.2.1/24 dev vm0");
    guest.wait_ready();
    for library in
        run(&format!("ldd {ADIT}")).split_whitespace().filter(|word| word.starts_with('/'))
    {
        // A library that is in use must not change.
        if !guest.run(&format!("ls {library} 2>/dev/null")).contains(library) {
            copy(&mut guest, library, library);
        }
    }
    copy(&mut guest, &program, "/bin/adit");
    for (host, number) in [("a", 1), ("b", 2)] {
        let mut ip = |line: String| assert_eq!(guest.run(&format!("/bin/ip {line}")), "", "{line}");
        ip(format!("netns add n{host}"));
        ip(format!("link add name p{host} type veth peer name h{host} netns n{host}"));
        ip(format!("link set dev p{host} up"));
        ip(format!("-n n{host} addr add 198.18.0.{number}/24 dev h{host}"));
        ip(format!("-n n{host} link set dev h{host} up"));
    }
    // The second time after a kill, which leaves what the kernel cannot remove by itself.
    for _ in 0..2 {
        guest.run("adit -q switch --accelerate require --port dev:pa --port dev:pb 2>/tmp/log & switch=$!");
        let ping = "for try in $(seq 60); do \
                    /bin/ip netns exec na ping -c 1 -W 1 198.18.0.2 >/dev/null && break; done; \
                    /bin/ip netns exec na ping -c 20 -i 0.05 198.18.0.2 | grep -c 'bytes from'";
        assert_eq!(guest.run(ping).trim(), "20", "{}", guest.run("cat /tmp/log"));
        let show = guest.run("adit -j switch show");
        let frames = parse(&show)["kernel"]["frames"].as_u64();
        assert!(frames.is_some_and(|frames| frames >= 30), "{show}");
        guest.run("kill -9 $switch; wait $switch");
    }
}
