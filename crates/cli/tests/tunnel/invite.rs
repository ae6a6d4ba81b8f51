//! Two machines become peers.

use crate::support::{ADIT, bare, command, parse, run, text, validate};
use crate::world::{Space, World, show, wait_for};
use adit_tunnel::{PresharedKey, PrivateKey};
use adit_vpn::file::invitation::Invitation;
use adit_vpn::file::reply::Reply;
use adit_vpn::file::values;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Runs adit in a namespace with some input; its standard output and standard error.
fn adit(world: &World, space: &Space, words: &[&str], input: &str) -> (String, bool) {
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

    let (reply, done) = adit(&world, &world.a, &["join", "--to", client, "--up"], &line);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    assert!(done && reply.starts_with("adit-reply-1:") && reply.chars().all(is_plain), "{reply}");
    let (_, done) = adit(&world, &world.b, &["accept", server, "--up"], &format!("\n{reply}\n"));
    assert!(done);

    wait_for("it is connected", || show("home")["peers"][0]["connected"] == true);
    let address_in = |space: &Space, device: &str| {
        let line = space.run(&format!("ip -o -4 addr show dev {device}"));
        let address = line.split_whitespace().nth(3).unwrap().to_owned();
        address.split('/').next().unwrap().to_owned()
    };
    let address = address_in(&world.a, "home");
    world.a.run(&format!("ping -n -c 1 -W 10 {}", address_in(&world.b, "site")));
    world.b.run(&format!("ping -n -c 1 -W 10 {address}"));

    // It was for one machine.
    let third = world.folder.join("third.conf");
    let (reply, _) = adit(&world, &world.a, &["join", "--to", third.to_str().unwrap()], &line);
    let (_, done) = adit(&world, &world.b, &["accept", server], &reply);
    assert!(!done);
    // A second one gets another address, and is added to the tunnel that runs.
    let (line, _) = adit(&world, &world.b, &ask, "");
    let second = world.folder.join("second.conf");
    let (reply, _) = adit(&world, &world.a, &["join", "--to", second.to_str().unwrap()], &line);
    assert!(!std::fs::read_to_string(&second).unwrap().contains(&format!("{address}/")));
    // A reply that was made without the invitation, for its address, adds nobody.
    let stranger = {
        let invitation = Invitation::parse(&line).unwrap();
        let key = PrivateKey::from_bytes([1; 32]).public_key();
        Reply::new(invitation.addresses[0].ip(), key, &PresharedKey::from_bytes([1; 32]))
    };
    let (_, done) = adit(&world, &world.b, &["accept", server], &stranger.to_line());
    assert!(!done);
    let (told, done) = adit(&world, &world.b, &["-j", "accept", server], &reply);
    assert!(done && parse(&told)["addresses"].as_array().unwrap().len() == 2, "{told}");
    validate(&[("tunnel-accept", told)]);
    assert_eq!(show("site")["peers"].as_array().unwrap().len(), 2);
    for name in ["site", "home"] {
        crate::support::adit(&format!("tunnel down {name}"));
    }
}

/// What `join` prints on standard error, and whether it succeeds.
fn join(to: &Path, words: &str, line: &str) -> (String, bool) {
    let first = [ADIT, "tunnel", "join", "--to", to.to_str().unwrap()];
    let mut child = command(first.into_iter().chain(words.split_whitespace()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (text(&output.stderr), output.status.success())
}

#[test]
fn a_machine_that_joins_sees_what_it_gets() {
    let world = World::new();
    let invitation = Invitation {
        name: "site".parse().unwrap(),
        endpoint: values::endpoint("host.example:51820").unwrap(),
        server: PrivateKey::from_bytes([7; 32]).public_key(),
        preshared_key: PresharedKey::from_bytes([9; 32]),
        addresses: vec!["10.1.2.3/32".parse().unwrap()],
        allowed_ips: vec!["10.1.2.0/24".parse().unwrap()],
    };
    let to = world.folder.join("x.conf");
    let halves = ["0.0.0.0/1".parse().unwrap(), "128.0.0.0/1".parse().unwrap()].to_vec();
    let all = Invitation { allowed_ips: halves, ..invitation.clone() };
    let (told, done) = join(&to, "", &all.to_line());
    assert!(!done && !to.exists() && told.contains("--allow-default"), "{told}");
    let (told, done) = join(&to, "--allow-default", &all.to_line());
    assert!(done && to.exists(), "{told}");
    let to = world.folder.join("y.conf");
    let (told, done) = join(&to, "", &invitation.to_line());
    let key = invitation.server.to_string();
    let parts = ["host.example:51820", &key, "10.1.2.3/32", "10.1.2.0/24", "y.conf"];
    assert!(done && parts.iter().all(|part| told.contains(part)), "{told}");
    // Names that would become paths, options or commands.
    for name in ["$(id)", "-x", "a;b"] {
        let bad = Invitation { name: name.parse().unwrap(), ..invitation.clone() };
        let (told, done) = join(&world.folder.join("z.conf"), "", &bad.to_line());
        assert!(!done && told.contains("the name in the invitation"), "{name}: {told}");
    }
    let (told, done) = join(&world.folder.join("z.conf"), "", "adit-invitation-1:abc");
    assert!(!done && told.contains("not a complete invitation"), "{told}");
    assert!(!world.folder.join("z.conf").exists());
}

/// The text of a QR code that was printed in half blocks, as a scanner reads it.
fn scan(printed: &str) -> String {
    let rows: Vec<[Vec<bool>; 2]> = printed
        .lines()
        .map(|line| {
            let is_dark = |blank: [char; 2]| line.chars().map(|c| blank.contains(&c)).collect();
            [is_dark([' ', '\u{2584}']), is_dark([' ', '\u{2580}'])]
        })
        .collect();
    let rows: Vec<&Vec<bool>> = rows.iter().flatten().collect();
    let quiet = |row: &Vec<bool>| !row.iter().any(|dark| *dark);
    assert!(rows[..4].iter().chain(&rows[rows.len() - 4..]).all(|row| quiet(row)));
    assert!(
        rows.iter().all(|row| quiet(&row[..4].to_vec()) && quiet(&row[row.len() - 4..].to_vec()))
    );
    let size = 4;
    let at = |x: usize, y: usize| if rows[y / size][x / size] { 0 } else { 255 };
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(rows[0].len() * size, rows.len() * size, at);
    let codes = image.detect_grids();
    assert_eq!(codes.len(), 1);
    codes[0].decode().unwrap().1
}

/// A phone, for which wireguard-go stands here, needs the printed configuration alone.
#[test]
fn any_wireguard_program_uses_a_plain_configuration() {
    let world = World::new();
    let server = world.folder.join("site.conf");
    let ask = ["invite", server.to_str().unwrap(), "--endpoint", "192.0.2.2"];
    // An invitation that is open keeps its address.
    let (line, _) = adit(&world, &world.b, &ask, "");
    let reserved = Invitation::parse(&line).unwrap().addresses[0].to_string();
    let _site = world.up(&world.b, &server, "");
    let (printed, done) = adit(&world, &world.b, &[&ask[..], &["--wg", "--qr"]].concat(), "");
    assert!(done);
    let at = printed.find('\u{2588}').unwrap();
    let (config, code) = (&printed[..at], &printed[at..]);
    assert_eq!(scan(code), config, "the code has the same text");
    assert!(code.lines().all(|line| line.chars().count() <= 80));
    assert!(!config.contains(&reserved), "{config}");

    let phone = world.write("phone.conf", config);
    let stripped = run(&format!("wg-quick strip {}", phone.display()));
    let file = world.write("phone.stripped", &stripped);
    let address = config.lines().find_map(|line| line.strip_prefix("Address = ")).unwrap();
    let of_server = format!("{}.1", address.rsplit_once('.').unwrap().0);
    let program = bare("nsenter")
        .args([&format!("--net={}", world.a.path()), "wireguard-go", "-f", "wg0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _program = crate::world::Running(program);
    wait_for("it has its socket", || Path::new("/run/wireguard/wg0.sock").exists());
    run(&format!("wg setconf wg0 {}", file.display()));
    wait_for("the server is reached", || {
        let v4 = address.split(',').next().unwrap();
        let lines = ["ip link set wg0 up", &format!("ip addr replace {v4} dev wg0")];
        let lines = lines.iter().all(|line| world.a.succeeds(line));
        lines
            && world.a.succeeds(&format!("ip route replace {of_server} dev wg0"))
            && world.a.succeeds(&format!("ping -n -c 1 -W 1 {of_server}"))
    });

    let words = [ADIT, "-j", "tunnel"].iter().chain(&ask).chain(&["--wg", "--qr"]);
    let output = command(words).output().unwrap();
    let json = parse(&text(&output.stdout));
    assert_eq!(scan(json["qr"].as_str().unwrap()), json["config"]);
    assert_eq!(show("site")["peers"].as_array().unwrap().len(), 2);
    let invited = crate::support::adit(&format!("-j tunnel {}", ask.join(" ")));
    validate(&[("tunnel-invite", text(&output.stdout)), ("tunnel-invite", invited)]);
}
