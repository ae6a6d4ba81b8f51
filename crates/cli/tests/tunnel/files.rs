//! Files: mistakes, rights, secrets.

use crate::support::{ADIT, adit, command, refused, text};
use crate::world::{Keys, World};
use std::os::unix::fs::PermissionsExt;

#[test]
fn check_reports_every_error_and_changes_nothing() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    assert_eq!(
        adit(&format!("tunnel check {}", a.display())),
        format!("{}: no errors, 1 peer\n", a.display())
    );
    let wrong = world.write("x.conf", "[Interface]\nPrivateKye = a\n[Pear]\n");
    let (status, told) = refused(&format!("tunnel check {}", wrong.display()));
    assert_eq!(status, 2);
    for part in ["x.conf:2:1: ", "did you mean PrivateKey?", "x.conf:3:1: ", "[Peer]?"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let actions = adit(&format!("-n {} --dry-run tunnel up {}", world.a.path(), a.display()));
    assert!(
        actions.contains("create tun device ta") && actions.contains("add address fd00:9::1/64")
    );
    assert!(!world.a.has_link("ta"));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    std::fs::set_permissions(&a, PermissionsExt::from_mode(0o644)).unwrap();
    let (status, told) = refused(&format!("-n {} tunnel up {}", world.a.path(), a.display()));
    assert!(status == 3 && told.contains("chmod 600"), "{told}");
}

/// A key from a file of its own, as a credential of systemd, and from standard input.
#[test]
fn a_key_comes_from_elsewhere() {
    use std::io::Write;
    let world = World::new();
    let keys = Keys::new();
    let plain = world.write("plain.conf", "[Interface]\nAddress = 10.9.0.1/24\n");
    let (status, told) = refused(&format!("-n {} tunnel up {}", world.a.path(), plain.display()));
    assert!(status == 2 && told.contains("no private key"), "{told}");
    let key = world.write("key", &keys.private);
    let check = |name: &str| {
        assert_eq!(crate::world::show(name)["public_key"], keys.public);
        adit(&format!("tunnel down {name}"));
    };
    drop(world.up(&world.a, &plain, &format!("--private-key-file {}", key.display())));
    let toml = world.write("form.toml", "[interface]\nprivate_key_file = \"key\"\n");
    let up = world.up(&world.a, &toml, "");
    check("form");
    drop(up);
    let mut child = command([ADIT, "-n", &world.a.path(), "tunnel", "up", "-d"])
        .args(["--private-key-file", "credential:key"])
        .arg(&plain)
        .env("CREDENTIALS_DIRECTORY", &world.folder)
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    check("plain");
    let mut child = command([ADIT, "-n", &world.a.path(), "tunnel", "up", "-d"])
        .args(["--private-key-file", "-"])
        .arg(&plain)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(keys.private.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    check("plain");
}

/// Neither the command line, the environment nor any output but that of `wg` has a key.
#[test]
fn secrets_are_never_printed() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let file = std::fs::read_to_string(&a).unwrap();
    let private = file.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    let ta = world.up(&world.a, &a, "");
    let of_process = |name: &str| {
        // What is not to be dumped may not be read by others either.
        text(&std::fs::read(format!("/proc/{}/{name}", ta.pid())).unwrap_or_default())
    };
    let told = [
        adit("tunnel show ta"),
        adit("-j tunnel show ta"),
        adit(&format!("-n {} --dry-run tunnel up {}", world.a.path(), a.display())),
        of_process("cmdline"),
        of_process("environ"),
    ];
    for text in told {
        assert!(!text.contains(&private[..20]), "{text}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", ta.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().nth(4) == Some("0"), "{core}");
}
