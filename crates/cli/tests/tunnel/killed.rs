//! `kill -9` at random points of a start and of a reload: after the next start and stop the host is as it was, byte
//! for byte. `./check --long` has 100 points (`long_…`).
#![allow(clippy::print_stdout, reason = "what a failure needs to be understood")]

use crate::dns;
use crate::support::{ADIT, bare, run, text};
use crate::world::{Running, World, wait_for};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Repeatable numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    TunnelUp,
    TunnelReload,
    SwitchStart,
    SwitchReload,
}

const MOMENTS: [Moment; 4] =
    [Moment::TunnelUp, Moment::TunnelReload, Moment::SwitchStart, Moment::SwitchReload];

/// Everything that a tunnel can change: default routes with rules and a packet filter, name servers, a kill switch.
fn tunnel_file(peer: &str, private: &str, number: u8) -> String {
    let more = if number == 1 { "kill_switch = true" } else { "mtu = 1300" };
    format!(
        "[interface]\nprivate_key = \"{private}\"\nlisten_port = 5182{number}\ndns = [\"10.9.0.{number}\"]\n\
         addresses = [\"10.9.0.1/24\", \"10.{number}.0.1/24\", \"fd00:{number}::1/64\"]\n{more}\n\
         [[peer]]\npublic_key = \"{peer}\"\nendpoint = \"192.0.2.2:51820\"\n\
         allowed_ips = [\"0.0.0.0/0\", \"::/0\", \"198.51.{number}.0/24\"]\n"
    )
}

fn switch_file(folder: &str, netns: &str, number: u8) -> String {
    format!(
        "name = \"lab\"\n[[port]]\nport = \"tap:sa,netns={netns}\"\n[[port]]\nport = \"tap:s{number}\"\n\
         [[port]]\nport = \"unix:/run/stream{number}.sock\"\n\
         [[port]]\nport = \"vxlan:127.0.0.1,port=479{number}\"\n\
         [[mirror]]\nfile = \"{folder}/mirror{number}.pcapng\"\n"
    )
}

/// A host with a tunnel and a switch that are started, killed and stopped.
struct Site {
    world: World,
    path: String,
    keys: [crate::world::Keys; 2],
    log: PathBuf,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let path = dns::install(&world);
        let keys = [crate::world::Keys::new(), crate::world::Keys::new()];
        world.a.run("ip route add default via 192.0.2.2");
        std::fs::create_dir_all("/run/adit").unwrap();
        let log = world.folder.join("log");
        Self { world, path, keys, log }
    }

    fn write(&self, moment: Moment, number: u8) -> PathBuf {
        match moment {
            Moment::TunnelUp | Moment::TunnelReload => {
                let text = tunnel_file(&self.keys[1].public, &self.keys[0].private, number);
                self.world.write("ta.toml", &text)
            }
            Moment::SwitchStart | Moment::SwitchReload => {
                let folder = self.world.folder.display().to_string();
                self.world.write("lab.toml", &switch_file(&folder, &self.world.b.path(), number))
            }
        }
    }

    fn adit(&self, words: &[&str]) -> Command {
        let mut command = bare(ADIT);
        command.args(["-n", &self.world.a.path()]).args(words).env("PATH", &self.path);
        // In /var/lib on a real host: what a tunnel remembers outlives it.
        command.env("STATE_DIRECTORY", self.world.folder.join("state"));
        command.stdout(Stdio::null()).stderr(File::create(&self.log).unwrap());
        command
    }

    fn start(&self, moment: Moment, number: u8) -> Running {
        let file = self.write(moment, number).display().to_string();
        let words = match moment {
            Moment::TunnelUp | Moment::TunnelReload => ["tunnel", "up", &file],
            Moment::SwitchStart | Moment::SwitchReload => ["switch", "--config", &file],
        };
        Running(self.adit(&words).spawn().unwrap())
    }

    /// Starts it and waits until it runs; returns how long that took.
    fn started(&self, moment: Moment, number: u8) -> (Running, Duration) {
        let start = Instant::now();
        let mut running = self.start(moment, number);
        wait_for("it runs", || {
            let log = std::fs::read_to_string(&self.log).unwrap();
            assert!(running.0.try_wait().unwrap().is_none(), "it ended: {log}");
            log.lines().any(|line| line == "up" || line.starts_with("'lab' is running"))
        });
        (running, start.elapsed())
    }

    fn stop(&self, moment: Moment, mut running: Running) {
        let words: &[&str] = match moment {
            Moment::TunnelUp | Moment::TunnelReload => &["tunnel", "down", "ta"],
            Moment::SwitchStart | Moment::SwitchReload => &["switch", "stop", "lab"],
        };
        let output = self.adit(words).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(running.0.wait().unwrap().success());
    }

    /// Devices, addresses, routes, rules, packet filter, name servers and `/run`, as bytes.
    fn state(&self) -> Vec<(String, String)> {
        let mut state: Vec<(String, String)> = Vec::new();
        for (name, space) in [("a", &self.world.a), ("b", &self.world.b)] {
            for line in [
                "ip -j addr",
                "ip -j link",
                "ip -j -4 route show table all",
                "ip -j -6 route show table all",
                "ip -j -4 rule",
                "ip -j -6 rule",
                "nft -j list ruleset",
                "sysctl net.ipv4.conf.all.src_valid_mark",
            ] {
                state.push((format!("{name}: {line}"), space.run(line)));
            }
        }
        let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap();
        state.push(("resolv.conf".to_owned(), servers));
        // The folders behind the test's own /etc change with what is read there.
        let files = run(
            "find /run -path /run/work -prune -o -path /run/upper -prune -o -printf %y|%m|%p|%l\\n",
        );
        let mut files: Vec<String> = files.lines().map(str::to_owned).collect();
        files.sort();
        for file in &files {
            let mut parts = file.split('|');
            if let (Some("f"), Some(path)) = (parts.next(), parts.nth(1)) {
                state.push((path.to_owned(), std::fs::read_to_string(path).unwrap_or_default()));
            }
        }
        state.push(("/run".to_owned(), files.join("\n")));
        state
    }

    /// Waits until the kernel has taken away what ends a moment after its process, and compares.
    fn is_as_before(&self, before: &[(String, String)], what: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let now = self.state();
            if now == before {
                return;
            }
            if Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            let differs = |one: &[(String, String)], other: &[(String, String)]| -> Vec<String> {
                let lines = one.iter().filter(|line| !other.contains(line));
                lines.map(|(name, text)| format!("{name}: {text}")).collect()
            };
            let (new, old) = (differs(&now, before), differs(before, &now));
            panic!("{what}\nnow:\n{}\nbefore:\n{}", new.join("\n"), old.join("\n"));
        }
    }
}

/// Kills at `count` points of each kind, and reports where.
fn kills(count: u64, seed: u64) {
    let mut random = Random(seed);
    let site = Site::new();
    // A first run of each: how long it takes, and what it leaves on purpose.
    let mut times = Vec::new();
    for moment in MOMENTS {
        let (running, took) = site.started(moment, 1);
        site.stop(moment, running);
        times.push(took);
    }
    wait_for("the addresses are no longer tentative", || {
        let spaces = [&site.world.a, &site.world.b];
        spaces.iter().all(|space| !space.run("ip addr").contains("tentative"))
    });
    let before = site.state();
    for number in 0..count {
        let at = usize::try_from(random.below(4)).unwrap();
        let (moment, time) = (MOMENTS[at], times[at]);
        // Beyond its end as well, as the machine is never equally fast.
        let limit = u64::try_from(time.as_micros()).unwrap() * 5 / 4;
        let after = Duration::from_micros(random.below(limit));
        let what = format!(
            "seed {seed:#x}, point {number}: {moment:?} killed after {after:?} of {time:?}"
        );
        let running = match moment {
            Moment::TunnelUp | Moment::SwitchStart => site.start(moment, 1),
            Moment::TunnelReload | Moment::SwitchReload => {
                let (running, _) = site.started(moment, 1);
                site.write(moment, 2);
                run(&format!("kill -HUP {}", running.pid()));
                running
            }
        };
        std::thread::sleep(after);
        running.kill();
        println!("{what}");
        let next = if random.below(2) == 0 { 1 } else { 2 };
        let (running, _) = site.started(moment, next);
        site.stop(moment, running);
        site.is_as_before(&before, &what);
    }
}

/// `count` points, by as many hosts beside each other.
fn in_parallel(hosts: u64, count: u64) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..hosts)
            .map(|host| scope.spawn(move || kills(count / hosts, 0x5eed_0001 + host * 7919)))
            .collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn a_kill_at_any_point_leaves_nothing_after_the_next_start_and_stop() {
    in_parallel(2, 10);
}

#[test]
#[ignore = "takes minutes"]
fn long_100_kills_leave_nothing() {
    in_parallel(4, 100);
}
