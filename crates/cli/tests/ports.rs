//! Ports of the built program: two of them joined by pipes, and what a kill leaves.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]
#![allow(dead_code, reason = "it shares its support with other tests")]

mod capture_support;

use adit_device::Netns;
use capture_support::{adit, answers, eventually, ip, world};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that is killed with the test.
struct Running(Child);

impl Running {
    fn start(folder: &Path, command: &mut Command) -> Self {
        Self(command.env("XDG_RUNTIME_DIR", folder).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As `kill` does without a number.
    fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut status = None;
        eventually("it ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_link(name: &str) -> bool {
    adit_device::Link::find(&name.parse().unwrap()).is_ok()
}

#[test]
fn standard_streams_join_two_switches() {
    world(|folder| {
        let (reader, writer) = std::io::pipe().unwrap();
        let (other_reader, other_writer) = std::io::pipe().unwrap();
        let ends = [(1_u8, reader, other_writer), (2, other_reader, writer)];
        let sites: Vec<(Netns, Running)> = ends
            .into_iter()
            .map(|(number, reader, writer)| {
                let netns = Netns::new_anonymous().unwrap();
                let running = netns.run(|| {
                    let mut command = adit("switch --port stdio --port tap:t0");
                    let command = command.args(["--name", &format!("s{number}")]);
                    Running::start(folder, command.stdin(reader).stdout(writer))
                });
                (netns, running.unwrap())
            })
            .collect();
        for (number, (netns, _)) in (1..).zip(&sites) {
            netns
                .run(|| {
                    eventually("the TAP is there", || has_link("t0"));
                    ip(&format!("addr add 192.0.2.{number}/24 dev t0"));
                    ip("link set t0 up");
                })
                .unwrap();
        }
        let crosses = sites[0].0.run(|| {
            eventually("frames cross", || answers("192.0.2.2"));
        });
        crosses.unwrap();
    });
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_that_a_new_start_minds() {
    world(|folder| {
        ip("tuntap add p0 mode tap");
        let [stream, datagram] = ["s", "d"].map(|name| folder.join(name));
        let words = format!(
            "switch --name k --port tap:p0 --port tap:k0 --port unix:{} --port unix:{},type=dgram \
             --port vxlan:127.0.0.1,vni=7",
            stream.display(),
            datagram.display()
        );
        let start = || Running::start(folder, adit(&words).stdin(Stdio::null()));
        // From the first instructions on to a switch that has been running for a while.
        for delay in (0..30).map(|round| round * 3) {
            let running = start();
            std::thread::sleep(std::time::Duration::from_millis(delay));
            running.kill();
            eventually("its device goes with it", || !has_link("k0"));
            assert!(has_link("p0"), "after {delay} ms");
        }
        let mut running = start();
        eventually("it takes guests", || {
            std::os::unix::net::UnixStream::connect(&stream).is_ok() && has_link("k0")
        });
        assert!(running.terminate().success());
        assert!(has_link("p0") && !has_link("k0"));
        let left = std::fs::read_dir(folder).unwrap().flatten().filter(|file| {
            use std::os::unix::fs::FileTypeExt;
            file.file_type().unwrap().is_socket()
        });
        assert_eq!(left.count(), 0, "no socket is left");
    });
}
