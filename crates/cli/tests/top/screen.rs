//! `adit top` on a terminal.

use crate::support::{ADIT, bare, enter, run, text, try_adit, validate};
use crate::terminal::{Terminal, modes};
use crate::world::{Running, World, show, wait_for};
use std::process::{Command, Stdio};

fn top(words: &[&str]) -> Command {
    let mut command = bare(ADIT);
    command.args(words).env("RUST_BACKTRACE", "0").env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    command
}

/// A tunnel whose peer is dead, with traffic to it and to an address of no peer.
struct Staged {
    world: World,
    _tunnel: Running,
    _traffic: [Running; 2],
}

impl Staged {
    fn new() -> Self {
        let world = World::new();
        let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
        let (tunnel, other) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
        wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
        other.kill();
        world.a.run("ip route add 10.77.0.0/16 dev ta");
        let send = |to: &str| {
            let line = format!("ping -n -q -i 0.05 {to}");
            let mut command = world.a.command(&line);
            Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        };
        let traffic = [send("10.9.0.2"), send("10.77.0.1")];
        wait_for("the peer is silent for 15 s", || {
            show("ta")["peers"][0]["unanswered_s"].as_f64().is_some_and(|silent| silent > 15.0)
        });
        Self { world, _tunnel: tunnel, _traffic: traffic }
    }
}

/// Bar: a person sees within 5 seconds which peer is silent and why packets die. The first screens with numbers
/// show both, without a key.
#[test]
fn a_person_sees_which_peer_is_silent_and_why_packets_die() {
    let staged = Staged::new();
    let key: String =
        show("ta")["peers"][0]["public_key"].as_str().unwrap().chars().take(8).collect();
    let mut screen = Terminal::run(top(&["-n", &staged.world.a.path(), "top"]), 80, 24);
    let silent = format!("! ta {key}: no answer for ");
    let lines = screen.wait("what is wrong", |lines| {
        lines.iter().any(|line| line.starts_with(&silent))
            && lines.iter().any(|line| line.starts_with("! ta: ") && line.contains("no peer"))
    });
    assert!(lines[0].starts_with("adit top: 2 services, 3 problems"), "{lines:#?}");
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("! tb: nobody listens")), "{lines:#?}");
    // The cause and the remedy of the selected service's first problem.
    assert!(lines.iter().any(|line| line.starts_with("ADIT-E0860")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("cause: ")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("help:  ")), "{lines:#?}");
    screen.press("5");
    let lines = screen.wait("the peer", |lines| lines.iter().any(|line| line.starts_with(">!ta")));
    assert!(lines.iter().any(|line| line.contains("[5 Peers]")), "{lines:#?}");
    let row = lines.iter().find(|line| line.starts_with(">!ta")).unwrap();
    assert!(row.contains(&key) && row.contains("SILENT"), "{row}");
    screen.press("8");
    let wanted = "No port or peer takes".to_owned();
    let lines = screen.wait("why packets die", |lines| {
        lines
            .iter()
            .any(|line| line.contains("no peer") && line.contains("Tunnel: the destination"))
    });
    assert!(!lines.iter().any(|line| line.contains(&wanted)), "{lines:#?}");
    screen.press("/session\r");
    screen.wait("a filter", |lines| {
        lines.last().is_some_and(|line| line.contains("filter: session"))
    });
    screen.press("q");
    assert!(screen.end().success());
    // The same as lines for a program without a terminal, and as JSON.
    let path = staged.world.a.path();
    let once = try_adit(&["-n", &path, "top", "--once", "--table", "drops"]);
    let printed = text(&once.stdout);
    assert!(once.status.success() && printed.lines().count() == 24, "{printed}");
    assert!(printed.contains(&silent) && printed.contains("no peer"), "{printed}");
    let json = text(&try_adit(&["-n", &path, "-j", "top", "--once"]).stdout);
    validate(&[("top", json.clone())]);
    let turn: serde_json::Value = serde_json::from_str(&json).unwrap();
    let peer = &turn["tables"]["peers"][0];
    assert!(peer["state"].as_str().unwrap().starts_with("SILENT"), "{peer}");
    assert!(turn["tables"]["devices"][0]["device"] == "ta", "{turn}");
    // `adit status` says the same, and exits with 1.
    let status = try_adit(&["-n", &path, "status"]);
    assert_eq!(status.status.code(), Some(1));
    let printed = text(&status.stdout);
    for told in [
        "3 problems",
        "ADIT-E0860",
        "ADIT-E0868",
        "ADIT-E0861",
        &key,
        "no peer",
        "help: ",
        "cause: ",
    ] {
        assert!(printed.contains(told), "{told}: {printed}");
    }
}

/// The end of the view, however it comes, leaves the terminal as it was.
#[test]
fn the_terminal_is_as_it_was_after_a_key_a_signal_and_a_panic() {
    enter();
    let panics = cfg!(debug_assertions).then_some(("panic", 101));
    let ends = [("q", 0), ("\u{3}", 0), ("TERM", 143), ("HUP", 129)];
    for (how, status) in ends.into_iter().chain(panics) {
        let mut command = top(&["top"]);
        if how == "panic" {
            command.env("ADIT_FAILPOINT", "top");
        }
        // A shell's terminal, before a program changes it.
        let mut shell = Terminal::run(bare("true"), 80, 24);
        shell.end();
        let before = modes(&shell.tty);
        drop(shell);
        let mut screen = Terminal::run(command, 80, 24);
        match how {
            "panic" => {}
            _ => {
                screen.wait("the title", |lines| {
                    lines.iter().any(|line| line.starts_with("adit top"))
                });
                assert!(screen.screen.screen().alternate_screen());
                assert!(screen.screen.screen().hide_cursor());
                assert_ne!(modes(&screen.tty), before, "raw mode");
                match how {
                    "TERM" | "HUP" => drop(run(&format!("kill -{how} {}", screen.pid()))),
                    keys => screen.press(keys),
                }
            }
        }
        let ended = screen.end();
        assert_eq!(ended.code(), Some(status), "{how}: {ended}");
        assert_eq!(modes(&screen.tty), before, "{how}");
        let lines = screen.lines().join("\n");
        let now = screen.screen.screen();
        assert!(!now.alternate_screen() && !now.hide_cursor(), "{how}");
        assert_eq!(lines.contains("the failpoint top"), how == "panic", "{how}: {lines}");
    }
}

/// A shell with job control, on a terminal that is its own.
fn shell() -> Terminal {
    let mut command = bare("setsid");
    command.args(["-c", "bash", "--noediting", "--norc", "-i"]);
    command.env("PS1", "$ ").env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    let mut shell = Terminal::run(command, 80, 24);
    shell.wait("a prompt", |lines| lines.iter().any(|line| line.starts_with('$')));
    shell
}

fn has_title(lines: &[String]) -> bool {
    lines.first().is_some_and(|line| line.starts_with("adit top"))
}

/// Ctrl-Z and `kill -TSTP` give the terminal back, `fg` takes it again, also after a stop that no program sees.
#[test]
fn job_control_stops_it_and_the_terminal_is_the_shells_meanwhile() {
    enter();
    let mut shell = shell();
    let before = modes(&shell.tty);
    let is_shells = |shell: &mut Terminal| {
        shell.lines();
        let screen = shell.screen.screen();
        !screen.alternate_screen() && !screen.hide_cursor() && modes(&shell.tty) == before
    };
    shell.press(&format!("{ADIT} top\r"));
    for stop in ["\u{1a}", "TSTP", "STOP"] {
        shell.wait("the title", has_title);
        assert!(shell.screen.screen().alternate_screen() && !is_shells(&mut shell));
        let children = format!("/proc/{0}/task/{0}/children", shell.pid());
        let top = std::fs::read_to_string(children).unwrap().trim().to_owned();
        if stop == "\u{1a}" {
            shell.press(stop);
        } else {
            run(&format!("kill -{stop} {top}"));
        }
        let stat = format!("/proc/{top}/stat");
        wait_for("it stops", || std::fs::read_to_string(&stat).unwrap().contains(") T "));
        if stop != "STOP" {
            wait_for("the terminal is the shell's", || is_shells(&mut shell));
            shell.wait("the shell", |lines| lines.iter().any(|line| line.contains("Stopped")));
        }
        shell.press("clear; fg\r");
    }
    shell.wait("the title", has_title);
    shell.press("q");
    wait_for("the terminal is the shell's", || is_shells(&mut shell));
    shell.press("exit\r");
    shell.end();
}

/// A terminal whose size changes has a screen of its new size.
#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    enter();
    let mut shell = shell();
    shell.press(&format!("{ADIT} top\r"));
    shell.wait("the title", has_title);
    for (width, height) in [(120, 40), (50, 12), (80, 24)] {
        shell.resize(width, height);
        let lines = shell.wait("keys in the last line", |lines| {
            has_title(lines)
                && lines.len() == usize::from(height)
                && lines.last().is_some_and(|line| line.starts_with("q quit"))
        });
        let title = lines[0].chars().count();
        assert_eq!(title, usize::from(width), "what stands at the right is there: {lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("q quit")).count(), 1, "{lines:#?}");
    }
    shell.press("q");
    shell.wait("a prompt", |lines| lines.iter().any(|line| line.starts_with('$')));
}

/// Letters that take two columns of the terminal, or none, shift nothing.
#[test]
fn wide_names_leave_the_columns_where_they_are() {
    enter();
    let names = ["plain", "测试网桥", "🦀🦀", "e\u{301}te\u{301}"];
    for name in names {
        run(&format!("ip tuntap add dev {name} mode tap"));
    }
    let mut screen = Terminal::run(top(&["top", "--table", "devices"]), 80, 24);
    screen.wait("the devices", |lines| {
        names.iter().all(|name| lines.iter().any(|line| line.contains(name)))
    });
    let place = |screen: &Terminal, row: u16, text: &str| {
        let screen = screen.screen.screen();
        (0..80).find(|at| screen.contents_between(row, *at, row, 80).starts_with(text))
    };
    let rows: Vec<String> = screen.lines();
    let of = |text: &str| {
        let row = rows.iter().position(|line| line.contains(text)).unwrap();
        u16::try_from(row).unwrap()
    };
    let kind = place(&screen, of("KIND"), "KIND").unwrap();
    for name in names {
        assert_eq!(place(&screen, of(name), "tap"), Some(kind), "{name}: {rows:#?}");
    }
    // The line of the keys is where it was: no row was broken.
    assert!(rows[23].starts_with("q quit"), "{rows:#?}");
    screen.press("q");
    assert!(screen.end().success());
}

/// On a terminal, `adit lab top` is the same view, of the links of one lab.
#[test]
fn the_links_of_a_lab_are_watched_on_the_same_screen() {
    enter();
    let file = std::env::temp_dir().join(format!("adit-top-{}.toml", std::process::id()));
    let lab = "[host.pc]\n[host.srv]\n[[link]]\nends = [\"pc\", \"srv\"]\n";
    std::fs::write(&file, lab).unwrap();
    let path = file.display().to_string();
    let up = try_adit(&["lab", "up", "-d", &path]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let mut screen = Terminal::run(top(&["lab", "top"]), 80, 24);
    let lines = screen.wait("the link", |lines| lines.iter().any(|line| line.contains("pc-srv")));
    assert!(lines.iter().any(|line| line.contains("[6 Links]")), "{lines:#?}");
    screen.press("q");
    assert!(screen.end().success());
    assert!(try_adit(&["lab", "down"]).status.success());
    std::fs::remove_file(file).unwrap();
}

/// A serial line: no size, no UTF-8; and a terminal that can do nothing.
#[test]
fn it_works_over_serial_lines_and_without_a_terminal() {
    enter();
    let mut command = top(&["top"]);
    command.env("LC_ALL", "C").env("TERM", "vt100").env("NO_COLOR", "1");
    let mut screen = Terminal::run(command, 0, 0);
    let lines = screen.wait("the title", |lines| lines.len() == 24);
    assert!(lines.iter().all(|line| line.is_ascii() && line.len() <= 80), "{lines:#?}");
    assert!(lines[23].starts_with("q quit  ? keys"), "{lines:#?}");
    screen.press("?");
    screen.wait("the keys", |lines| lines.iter().any(|line| line.contains("Ctrl-L")));
    screen.press("xq");
    assert!(screen.end().success());
    let mut dumb = top(&["top", "--interval", "100ms"]);
    dumb.env("TERM", "dumb");
    let mut screen = Terminal::run(dumb, 80, 24);
    screen.wait("lines", |lines| lines.iter().filter(|line| line.starts_with("STATE")).count() > 2);
    assert!(!screen.screen.screen().alternate_screen());
}
