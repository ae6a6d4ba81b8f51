//! The log: its formats, levels that change while a program runs, its limits, and the journal.

use crate::program::{Ended, PATIENCE, eventually, hosts};
use crate::support::{ADIT, adit, adit_json, bare, command, refused, run, text, validate};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};

/// Lines of a log, as JSON.
struct Lines {
    lines: Receiver<String>,
    seen: Vec<Value>,
}

impl Lines {
    /// Everything that has come.
    fn all(&mut self) -> &[Value] {
        while let Ok(line) = self.lines.try_recv() {
            let line =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.seen.push(line);
        }
        &self.seen
    }

    fn has(&mut self, is_it: impl Fn(&Value) -> bool) -> bool {
        self.all().iter().any(is_it)
    }
}

/// A program whose log is lines of JSON.
fn started(words: &[&str], log: &[&str]) -> (Ended, Lines) {
    let mut command = bare(ADIT);
    command.args(words).args(["--log-format", "json"]).args(log);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    let (program, mut lines) = (Ended(child), Lines { lines, seen: Vec::new() });
    eventually("it is ready", || lines.has(|line| line["event"] == "ready"));
    (program, lines)
}

fn filter(name: &str) -> String {
    adit_json(&format!("log {name}"))["filter"].as_str().unwrap().to_owned()
}

#[test]
fn levels_are_shown_and_changed_while_it_runs() {
    hosts(&[]);
    let words = ["switch", "--name", "lab", "--port", "tap:a", "--port", "tap:b"];
    let (_switch, mut lines) = started(&words, &["--log", "host=warn"]);
    assert_eq!(filter("lab"), "info,host=warn");
    let is_request = |line: &Value| line["target"] == "control" && line["level"] == "debug";
    assert!(!lines.has(is_request));
    // The only program that runs needs no name.
    assert!(adit("log control=debug").starts_with("lab: info,control=debug,host=warn, as json\n"));
    adit("switch show lab");
    eventually("the request is logged", || {
        lines.has(|line| is_request(line) && line["message"] == "GET /switch")
    });
    adit("log lab default");
    assert_eq!(filter(""), "info,host=warn");
    let before = lines.all().iter().filter(|line| is_request(line)).count();
    adit("switch show lab");
    adit("switch port del tap:b");
    assert_eq!(lines.all().iter().filter(|line| is_request(line)).count(), before);
    let completed = |line: &str| adit(&format!("complete -- {line}"));
    assert_eq!(completed("switch --log tun"), "tunnel=\n");
    assert_eq!(completed("log lab"), "lab\nlab=\n");
    assert_eq!(completed("log lab host=debug,tunnel=w"), "host=debug,tunnel=warn\n");
    let all = lines.all().iter().map(|line| ("log-line", line.to_string()));
    validate(&all.chain([("log", adit("-j log lab"))]).collect::<Vec<_>>());
    for (line, part) in [
        ("log lab tunel=debug", "unknown target 'tunel'; did you mean 'tunnel'?"),
        (
            "log lab switch=loud",
            "unknown level 'loud'; the levels are off, error, warn, info, debug",
        ),
        ("switch --port tap:x --log debgu", "unknown level 'debgu'; did you mean 'debug'?"),
        ("log nobody", "no program named 'nobody' is running"),
    ] {
        let (_, error) = refused(line);
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn a_key_of_the_file_and_a_variable_are_filters_too() {
    hosts(&[]);
    let file = "/run/lab.toml";
    let write = |log: &str| {
        let text = format!("name = \"lab\"\n{log}\n[[port]]\nport = \"tap:a\"\n");
        std::fs::write(file, text).unwrap();
    };
    write("log = \"switch=debug\"");
    let (switch, _lines) = started(&["switch", "--config", file], &[]);
    assert_eq!(filter("lab"), "info,switch=debug");
    write("log = \"error\"");
    adit("switch reload lab");
    assert_eq!(filter("lab"), "error");
    write("log = \"swtich=debug\"");
    assert!(refused("switch reload lab").1.contains("did you mean 'switch'?"));
    drop(switch);
    write("log = \"error\"");
    let mut command = bare(ADIT);
    command.args(["switch", "--config", file]).env("ADIT_LOG", "trace");
    let _switch = Ended(command.stderr(Stdio::null()).spawn().unwrap());
    eventually("it answers", || command_succeeds("log lab"));
    assert_eq!(filter("lab"), "trace", "the variable comes before the file");
}

fn command_succeeds(line: &str) -> bool {
    command([ADIT].into_iter().chain(line.split(' '))).output().unwrap().status.success()
}

/// Every event that standard output has is in the log, or counted there.
#[test]
fn a_message_that_repeats_is_written_once_a_second_and_counted() {
    const FLAPS: usize = 100;
    hosts(&[]);
    let words = ["switch", "--name", "lab", "--port", "tap:a", "--port", "tap:b"];
    let mut command = bare(ADIT);
    command.arg("-j").args(words).args(["--log", "info", "--log-format", "json"]);
    let log = "/run/log";
    command.stderr(std::fs::File::create(log).unwrap()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    let mut program = Ended(child);
    assert!(events.recv_timeout(PATIENCE).unwrap().contains("ready"));
    let batch: String = (0..FLAPS).map(|_| "link set dev a down\nlink set dev a up\n").collect();
    std::fs::write("/run/batch", batch).unwrap();
    run("ip -batch /run/batch");
    adit("switch stop lab");
    program.0.wait().unwrap();
    let downs = events.iter().filter(|line| line.contains("port-down")).count();
    let text = std::fs::read_to_string(log).unwrap();
    let (mut written, mut left_out) = (0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["event"] == "port-down" {
            match line["left_out"].as_u64() {
                Some(count) => left_out += usize::try_from(count).unwrap(),
                None => written += 1,
            }
        }
    }
    assert!(downs > 2, "{downs} events");
    assert_eq!(written + left_out, downs, "{text}");
    assert!(written <= 3, "{written} of {downs} were written: {text}");
}

/// The fields of a datagram for the journal, values of several lines included.
fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let (key, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                bytes = rest;
                (&line[..at], &line[at + 1..])
            }
            None => {
                let len =
                    usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
                bytes = &rest[8 + len + 1..];
                (line, &rest[8..8 + len])
            }
        };
        fields.push((text(key), text(value)));
    }
    fields
}

/// The socket of the journal.
struct Journal(UnixDatagram);

impl Journal {
    fn open() -> Self {
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        let socket = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The fields of the next message.
    fn next(&self) -> Vec<(String, String)> {
        let mut bytes = [0; 9000];
        let len = self.0.recv(&mut bytes).unwrap();
        fields(&bytes[..len])
    }
}

fn of(fields: &[(String, String)], key: &str) -> String {
    let found = fields.iter().find(|(known, _)| known == key);
    found.map_or(String::new(), |(_, value)| value.clone())
}

/// In the background, what comes after the start goes to the journal, or to the file that was standard error. Without
/// both it is only in `/events`.
#[test]
fn a_program_in_the_background_goes_on_logging() {
    hosts(&[]);
    let key = run(&format!("{ADIT} tunnel genkey"));
    let interface = format!("[Interface]\nPrivateKey = {key}Address = 10.9.0.1/24\n");
    std::fs::write("/run/ta.conf", interface).unwrap();
    run("chmod 600 /run/ta.conf");
    std::fs::write("/run/net.toml", "[host.pc]\n[host.srv]\n[[link]]\nends = ['pc', 'srv']\n")
        .unwrap();
    let ups = [
        ("tunnel up -d /run/ta.conf", "ta", "tunnel down ta", "reloaded"),
        ("lab up -d --name net /run/net.toml", "net", "lab down net", "link pc-srv fails"),
    ];
    let change = |name: &str| match name {
        "net" => adit("lab fail --lab net pc-srv"),
        name => adit(&format!("tunnel reload {name}")),
    };
    let start = |line: &str, stderr: Stdio| {
        let mut command = bare(ADIT);
        let command = command.args(line.split_whitespace()).stderr(stderr);
        let output = command.stdout(Stdio::null()).spawn().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    for (up, name, down, wanted) in ups {
        // Standard error is the terminal of the start, or a pipe that its reader closes.
        start(up, Stdio::piped());
        assert!(adit(&format!("log {name}")).contains("as text"));
        change(name);
        adit(down);

        let journal = Journal::open();
        let log = start(up, Stdio::piped());
        assert!(!log.contains(wanted), "{log}");
        assert!(adit(&format!("log {name}")).contains("as journal"));
        change(name);
        let message = std::iter::repeat_with(|| journal.next())
            .find(|message| of(message, "MESSAGE").starts_with(wanted))
            .unwrap();
        assert_eq!(of(&message, "SYSLOG_IDENTIFIER"), "adit");
        if name == "ta" {
            adit("tunnel upgrade ta");
            assert!(adit("log ta").contains("as journal"), "the next process goes on");
        }
        adit(down);

        // A file stays, though the journal is there.
        start(up, Stdio::from(std::fs::File::create("/run/log.txt").unwrap()));
        change(name);
        adit(down);
        let log = std::fs::read_to_string("/run/log.txt").unwrap();
        assert!(log.contains(wanted), "{log}");
        std::fs::remove_file("/run/systemd/journal/socket").unwrap();
    }
}

/// A stream as systemd names it: device and inode.
fn stream(of: &std::io::PipeWriter) -> String {
    let file = std::fs::File::from(OwnedFd::from(of.try_clone().unwrap())).metadata().unwrap();
    format!("{}:{}", file.dev(), file.ino())
}

#[test]
fn under_systemd_the_journal_gets_the_fields_of_events() {
    hosts(&[]);
    let journal = Journal::open();
    // What systemd sets: the stream of the journal is standard error.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = bare(ADIT);
    command.env("JOURNAL_STREAM", stream(&writer));
    command.args(["switch", "--name", "lab", "--port", "tap:a", "--port", "tap:b"]);
    let _switch = Ended(command.stdout(Stdio::null()).stderr(writer).spawn().unwrap());
    drop(command);
    let next = |event: &str, port: &str| loop {
        let fields = journal.next();
        if of(&fields, "ADIT_EVENT") == event && of(&fields, "ADIT_PORT") == port {
            break fields;
        }
    };
    let ready = next("ready", "");
    assert!(of(&ready, "MESSAGE").starts_with("'lab' is running: tap:a, tap:b"), "{ready:?}");
    assert_eq!(of(&ready, "PRIORITY"), "6");
    assert_eq!(of(&ready, "SYSLOG_IDENTIFIER"), "adit");
    assert_eq!(of(&ready, "ADIT_PORTS"), "tap:a, tap:b");
    run("ip link set dev a down");
    assert_eq!(of(&next("port-down", "tap:a"), "PRIORITY"), "4");
    adit("log lab control=debug");
    adit("switch show lab");
    let logged = next("log", "");
    assert!(of(&logged, "CODE_FILE").ends_with("supervisor/mod.rs"), "{logged:?}");
    assert_eq!(
        (of(&logged, "PRIORITY"), of(&logged, "ADIT_TARGET")),
        ("7".into(), "control".into())
    );
    adit("switch stop lab");
    // What ends a program goes there as well, with its code.
    let mut command = bare(ADIT);
    let (other, writer) = std::io::pipe().unwrap();
    command.env("JOURNAL_STREAM", stream(&writer));
    let status = command.args(["switch", "--port", "dev:nothing"]).stderr(writer).status().unwrap();
    drop(command);
    assert_eq!(status.code(), Some(4));
    let error = next("error", "");
    assert_eq!(of(&error, "PRIORITY"), "3");
    assert!(of(&error, "ADIT_CODE").starts_with("ADIT-E"), "{error:?}");
    for stream in [reader, other] {
        let lines: Vec<_> = BufReader::new(stream).lines().map(Result::unwrap).collect();
        assert_eq!(lines, Vec::<String>::new(), "nothing is in the journal twice");
    }
}

/// Another program's standard error, inherited with the variable, is no journal.
#[test]
fn a_variable_for_another_stream_means_no_journal() {
    hosts(&[]);
    let mut command = bare(ADIT);
    command.env("JOURNAL_STREAM", "1:1").args(["switch", "--port", "dev:nothing"]);
    let output = command.output().unwrap();
    assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
    let output = bare(ADIT).args(["switch", "--port", "tap:a", "--log-format", "journal"]).output();
    let error = text(&output.unwrap().stderr);
    assert!(error.contains("reach the journal"), "{error}");
}
