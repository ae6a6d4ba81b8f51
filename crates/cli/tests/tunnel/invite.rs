//! Two machines become peers.

use crate::support::{ADIT, command, refused, text};
use crate::world::{World, show, wait_for};
use std::io::Write;
use std::process::Stdio;

/// Runs adit in a namespace with some input; its standard output, and what it tells.
fn adit(world: &World, space: &crate::world::Space, words: &[&str], input: &str) -> (String, bool) {
    let path = space.path();
    let mut child = command([ADIT, "-n", &path, "tunnel"].iter().chain(words))
        .current_dir(&world.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (text(&output.stdout).trim().to_owned(), output.status.success())
}

/// Two commands on each machine.
#[test]
fn two_machines_are_connected_by_two_commands_each() {
    let world = World::new();
    let (server, client) = (world.folder.join("site.conf"), world.folder.join("home.conf"));
    let (server, client) = (server.to_str().unwrap(), client.to_str().unwrap());
    std::fs::write(server, "").unwrap();
    std::fs::remove_file(server).unwrap();
    let ask = ["invite", server, "--endpoint", "192.0.2.2"];
    let (line, done) = adit(&world, &world.b, &ask, "");
    assert!(done && line.starts_with("adit-invitation-1:") && line.lines().count() == 1, "{line}");

    let (told, done) = adit(&world, &world.a, &["join", "--to", client, "--up"], &line);
    assert!(done && told.starts_with("adit tunnel accept site 10."), "{told}");
    let words: Vec<&str> = told.split(' ').collect();
    let [_, _, _, _, address, key] = words[..] else { panic!("{told}") };
    let (_, done) = adit(&world, &world.b, &["accept", server, address, key, "--up"], "");
    assert!(done);

    wait_for("it is connected", || show("home")["peers"][0]["connected"] == true);
    let there = world.b.run("ip -o -4 addr show dev site");
    let there = there.split_whitespace().nth(3).unwrap().split('/').next().unwrap();
    world.a.run(&format!("ping -n -c 1 -W 10 {there}"));
    world.b.run(&format!("ping -n -c 1 -W 10 {address}"));

    // It was for one machine.
    let other = crate::world::Keys::new().public;
    let (_, done) = adit(&world, &world.b, &["accept", server, address, &other], "");
    assert!(!done);
    // A second one gets another address, and is added to the tunnel that runs.
    let (line, _) = adit(&world, &world.b, &ask, "");
    let second = world.folder.join("second.conf");
    let (told, _) = adit(&world, &world.a, &["join", "--to", second.to_str().unwrap()], &line);
    let words: Vec<&str> = told.split(' ').collect();
    assert_ne!(words[4], address);
    let (_, done) = adit(&world, &world.b, &["accept", server, words[4], words[5]], "");
    assert!(done);
    assert_eq!(show("site")["peers"].as_array().unwrap().len(), 2);
    for name in ["site", "home"] {
        crate::support::adit(&format!("tunnel down {name}"));
    }
}

#[test]
fn what_is_no_invitation_is_refused() {
    let world = World::new();
    let to = world.folder.join("x.conf");
    let (_, done) =
        adit(&world, &world.a, &["join", "--to", to.to_str().unwrap()], "adit-invitation-1:abc");
    assert!(!done && !to.exists());
    let missing = world.folder.join("no/where");
    let line = format!("tunnel accept {} 10.0.0.2 x", missing.display());
    assert_ne!(refused(&line).0, 0);
}
