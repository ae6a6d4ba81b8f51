//! Every example runs, to its end.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example. Cargo builds them beside the tests, but not if it was asked for this test alone.
fn example(name: &str) -> Command {
    static BUILD: Once = Once::new();
    BUILD.call_once(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "adit-runtime", "--examples"]);
        assert!(build.status().unwrap().success(), "the examples compile");
    });
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    let mut command = Command::new(folder.join(name));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn socket(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("adit-example-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Ends it by SIGTERM; what it printed.
fn end(child: Child) -> String {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn connect(path: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn frame() -> Vec<u8> {
    let mut bytes = 60_u32.to_be_bytes().to_vec();
    bytes.extend([0xff; 6]);
    bytes.extend([2; 54]);
    bytes
}

fn receive(stream: &mut UnixStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = vec![0; 64];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_port_of_ones_own() {
    let output = example("own_port").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "b received 19 bytes\nport a received 1 frame\n");
}

#[test]
fn a_switch_of_forty_lines() {
    let path = socket("switch");
    let child = example("switch_40_lines").arg(format!("unix:{}", path.display())).spawn().unwrap();
    let (mut a, mut b) = (connect(&path), connect(&path));
    // The switch may not have taken in `b` when `a` sends first.
    b.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut got = vec![0; 64];
    let start = Instant::now();
    // The switch also sends probes of its loop guard, of the same length.
    while b.read_exact(&mut got).is_err() || got != frame() {
        assert!(start.elapsed() < PATIENCE);
        a.write_all(&frame()).unwrap();
    }
    let text = end(child);
    assert!(text.starts_with("port 0: unix:") && text.contains("port 1: unix:"), "{text}");
    assert!(!path.exists());
}

#[test]
fn an_engine_of_ones_own() {
    let paths = [socket("one"), socket("other")];
    let listeners = [0, 1].map(|at: usize| UnixListener::bind(&paths[at]).unwrap());
    let specs = [0, 1].map(|at: usize| format!("unix:{},connect", paths[at].display()));
    let child = example("own_engine").args(specs).spawn().unwrap();
    let [mut one, mut other] = listeners.map(|listener| listener.accept().unwrap().0);
    let start = Instant::now();
    one.write_all(&[frame(), frame()].concat()).unwrap();
    assert_eq!(receive(&mut other), frame());
    assert!(start.elapsed() >= Duration::from_millis(10));
    let text = end(child);
    assert!(text.contains("1 frames passed\n1 dropped: group limit\n"), "{text}");
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
