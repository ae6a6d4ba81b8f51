//! Peers that come and go, and two hosts with one key.

use crate::support::{adit, adit_json, refused};
use crate::world::{Keys, Running, World, show, wait_for};
use std::path::{Path, PathBuf};

/// An end with this number: its file, by keys of its own and of the other.
fn file(
    world: &World,
    name: &str,
    (own, number): (&Keys, u8),
    other: &Keys,
    more: [&str; 2],
) -> PathBuf {
    let [interface, peer] = more;
    let far = if number == 2 { 1 } else { 2 };
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.{number}/24\"]\n{interface}\n\
         [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.{far}/32\"]\n{peer}\n",
        own.private, other.public
    );
    world.write(name, &text)
}

const CLIENT: &str = "endpoint = \"192.0.2.2:51820\"\nkeepalive = 1";
const SERVER: &str = "listen_port = 51820";

fn ends(mut running: Running, told: &Path) -> (Option<i32>, String) {
    wait_for("it ends", || running.0.try_wait().unwrap().is_some());
    (running.0.wait().unwrap().code(), std::fs::read_to_string(told).unwrap())
}

/// Programs are run when a peer comes, when it was silent for its timeout, when it comes again, when it is
/// removed and when the tunnel ends.
#[test]
fn programs_are_run_when_a_peer_comes_and_goes() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let log = world.write("log", "");
    let script = world.write("hook.sh", &format!("echo \"$@\" >> {}\n", log.display()));
    let hook = |word: &str| {
        format!("{word} = [[\"sh\", \"{}\", \"{word}\", \"%i\", \"%a\", \"%k\"]]", script.display())
    };
    let hooks = format!("timeout = 6\n{}\n{}", hook("up"), hook("down"));
    let a = file(&world, "ta.toml", (&ka, 1), &kb, ["listen_port = 51821", CLIENT]);
    let b = file(&world, "tb.toml", (&kb, 2), &ka, [SERVER, &hooks]);
    let (status, told) = refused(&format!("tunnel check {}", b.display()));
    assert!(
        status == 2 && told.contains("tb.toml:9:6: up runs a program, which is not allowed"),
        "{told}"
    );
    let rehearsal =
        adit(&format!("-n {} --dry-run tunnel up --hooks run {}", world.b.path(), b.display()));
    assert!(rehearsal.contains("down tb %a %k whenever the peer disconnects"), "{rehearsal}");

    let _tb = world.up(&world.b, &b, "--hooks run --faster 10");
    let logged = |count: usize| {
        wait_for("the programs are run", || {
            std::fs::read_to_string(&log).unwrap().lines().count() >= count
        });
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), count, "{text}");
        text.lines().last().unwrap().to_owned()
    };
    let (up, down) =
        (format!("up tb 192.0.2.1 {}", ka.public), format!("down tb 192.0.2.1 {}", ka.public));
    for count in [1, 3] {
        let ta = world.up(&world.a, &a, "--faster 10");
        assert_eq!(logged(count), up);
        ta.kill();
        assert_eq!(logged(count + 1), down);
    }
    let _ta = world.up(&world.a, &a, "--faster 10");
    assert_eq!(logged(5), up);
    file(&world, "tb.toml", (&kb, 2), &Keys::new(), [SERVER, ""]);
    assert_eq!(adit_json("tunnel reload tb")["removed"], 1);
    assert_eq!(logged(6), format!("down tb  {}", ka.public));
    file(&world, "tb.toml", (&kb, 2), &ka, [SERVER, &hooks]);
    adit("tunnel reload tb");
    assert_eq!(logged(7), up);
    adit("tunnel down tb");
    assert_eq!(logged(8), format!("down tb  {}", ka.public));
}

/// With `persist = false` a tunnel ends when its peer is gone, or does not come.
#[test]
fn a_tunnel_that_is_not_to_wait_ends_with_its_peer() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let client = format!("{CLIENT}\ntimeout = 5");
    let a = file(&world, "ta.toml", (&ka, 1), &kb, ["persist = false", &client]);
    let b = file(&world, "tb.toml", (&kb, 2), &ka, [SERVER, "keepalive = 1"]);
    let before = world.a.state();
    let tb = world.up(&world.b, &b, "");
    let (ta, told) = world.up_telling(&world.a, &a, "");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    tb.kill();
    let (code, text) = ends(ta, &told);
    assert!(code == Some(6) && text.contains("no peer is connected"), "{code:?} {text}");
    let (ta, told) = world.up_telling(&world.a, &a, "");
    let (code, text) = ends(ta, &told);
    assert!(code == Some(6) && text.contains("no peer is connected"), "{code:?} {text}");
    assert_eq!(world.a.state(), before);
}

/// Two hosts with one key: the last one has the session, or the first, as configured; a warning reports either.
#[test]
fn two_hosts_with_one_key_are_reported() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let a = file(&world, "ta.toml", (&ka, 1), &kb, ["listen_port = 51821", CLIENT]);
    let c =
        file(&world, "tc.toml", (&ka, 3), &kb, ["listen_port = 51822\ntable = \"off\"", CLIENT]);
    for (multi, expected) in [("killold", "which replace each other"), ("no", "which is refused")] {
        let peer = format!("multi = \"{multi}\"");
        let b = file(&world, "tb.toml", (&kb, 2), &ka, [SERVER, &peer]);
        let (_tb, told) = world.up_telling(&world.b, &b, "");
        let _ta = world.up(&world.a, &a, "");
        wait_for("it is connected", || show("tb")["peers"][0]["connected"] == true);
        let _tc = world.up(&world.a, &c, "");
        let text = || std::fs::read_to_string(&told).unwrap();
        wait_for("a warning of two hosts", || text().contains("warning: two hosts use the key"));
        assert!(text().contains(expected) && text().contains("192.0.2.1:51822"), "{}", text());
        if multi == "no" {
            assert_eq!(show("tb")["peers"][0]["endpoint"], "192.0.2.1:51821");
            wait_for("the first goes on", || world.a.succeeds("ping -n -c 1 -W 1 -I ta 10.9.0.2"));
        }
    }
    let b = file(&world, "tb.toml", (&kb, 2), &ka, [SERVER, "multi = \"yes\""]);
    let (status, told) = refused(&format!("tunnel check {}", b.display()));
    assert!(status == 2 && told.contains("tb.toml:8:9: `multi` cannot be `yes`"), "{told}");
    assert!(told.contains("give each its own key"), "{told}");
}
