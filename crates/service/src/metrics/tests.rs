use crate::metrics::families::{DROPS, Type, all};
use crate::metrics::page::{self, Page, Snapshot};
use crate::metrics::ports::{
    LinkSample, PortSample, note_one, write_drops, write_links, write_ports,
};
use crate::metrics::scrapes::Scrapes;
use adit_engine::netem::Counts;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The counts of a port whose name needs escapes, and of its link.
#[derive(Debug)]
struct Sample(PortSample);

impl Sample {
    fn new(frames: u64) -> Self {
        let mut port = PortSample { name: "a\"\\\nb".to_owned(), ..PortSample::default() };
        port.ways[0].frames = frames;
        note_one(&mut port.ways[1].drops, "queue full".into(), 7);
        note_one(&mut port.ways[1].drops, "none".into(), 0);
        port.ways[0].link = Some(Counts { lost: 3, held: 2, queue_full: 5, ..Counts::default() });
        Self(port)
    }
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let ports = std::slice::from_ref(&self.0);
        let links = LinkSample::of_ports(ports);
        write_ports(page, ports)?;
        write_links(page, &links)?;
        write_drops(page, ports, &links, &vec![("port removed".into(), 1)])
    }
}

#[test]
fn names_are_unique_and_in_the_style_of_prometheus() {
    let names: BTreeSet<String> = all().map(|family| family.query_name()).collect();
    assert_eq!(names.len(), all().count());
    for family in all() {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(family.name.chars().all(word), "{family:?}");
        assert!(!family.name.ends_with("_total") && !family.name.ends_with("_info"), "{family:?}");
        assert!(family.help.ends_with(|c: char| c.is_alphanumeric() || c == '.'), "{family:?}");
        assert!(!family.labels.contains(&"name"), "{family:?}");
    }
    assert!(all().any(|family| family.kind == Type::Histogram));
    assert!(DROPS.labels.contains(&"reason"));
}

#[test]
fn both_formats_have_the_same_samples() {
    let open = page::text("x".to_owned(), Sample::new(12));
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    let port = r#"name="x",port="a\"\\\nb""#;
    for line in [
        "# TYPE adit_port_frames counter".to_owned(),
        "# UNIT adit_port_bytes bytes".to_owned(),
        "# TYPE adit_link_held gauge".to_owned(),
        format!("adit_port_frames_total{{{port},direction=\"ingress\"}} 12"),
        format!("adit_drops_total{{{port},direction=\"egress\",reason=\"queue full\"}} 7"),
        format!(
            "adit_drops_total{{{port},link=\"netem\",direction=\"ingress\",reason=\"loss\"}} 3"
        ),
        format!(
            "adit_drops_total{{{port},link=\"netem\",direction=\"ingress\",reason=\"queue full\"}} 5"
        ),
        "adit_drops_total{name=\"x\",reason=\"port removed\"} 1".to_owned(),
        format!("adit_link_held{{{port},direction=\"ingress\"}} 2"),
        format!("adit_port_up{{{port}}} 0"),
    ] {
        assert!(open.lines().any(|found| found == line), "{line}\n{open}");
    }
    assert!(
        !open.contains("none") && !open.contains("queued"),
        "nothing of what is not there: {open}"
    );

    let plain = page::plain(&open);
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    assert!(plain.contains("\n# TYPE adit_port_frames_total counter\n"), "{plain}");
    assert!(plain.starts_with("# HELP adit_port_frames_total "), "{plain}");
    assert!(!plain.contains("# UNIT") && !plain.contains("EOF"), "{plain}");
    let info = "# HELP a What it is.\n# TYPE a info\na_info{x=\"1\"} 1\n# EOF\n";
    let expected = "# HELP a_info What it is.\n# TYPE a_info gauge\na_info{x=\"1\"} 1\n";
    assert_eq!(page::plain(info), expected);
}

/// A service whose counter grows with each copy.
struct Service {
    address: SocketAddr,
    /// Where a control socket hands clients over.
    hand_over: std::sync::mpsc::Sender<OwnedFd>,
    copies: Arc<AtomicU64>,
    /// Copies are made while it is set.
    runs: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start() -> Self {
        // In the namespace of a test it is down.
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scrapes = Scrapes::start(Some(crate::control::socket::Listener {
            socket: listener,
            has_page: false,
        }))
        .unwrap();
        let copies = Arc::new(AtomicU64::new(0));
        let (runs, ends) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (hand_over, clients) = std::sync::mpsc::channel::<OwnedFd>();
        let state = (Arc::clone(&copies), Arc::clone(&runs), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let (copies, runs, ends) = state;
            while !ends.load(Ordering::Relaxed) {
                for client in clients.try_iter() {
                    scrapes.hand_over(client, "application/openmetrics-text", false);
                }
                if runs.load(Ordering::Relaxed) && scrapes.is_due() {
                    let count = copies.fetch_add(1, Ordering::Relaxed) + 1;
                    scrapes.deliver(Box::new(move || page::text("x".into(), Sample::new(count))));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { address, hand_over, copies, runs, ends, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The head of a reply, and its body.
fn parts(reply: &str) -> (&str, &str) {
    reply.split_once("\r\n\r\n").unwrap()
}

/// The frames that a page has.
fn frames(page: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with("adit_port_frames_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn requests_are_answered_as_http_has_it() {
    let service = Service::start();
    let plain = service.ask("GET /metrics HTTP/1.1\r\n\r\n");
    let (head, body) = parts(&plain);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    let open = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n";
    let open = service.ask(open);
    let (head, body) = parts(&open);
    assert!(head.contains(
        "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
    ));
    assert!(body.ends_with("# EOF\n"), "{body}");
    // The same head, and no body.
    let answer = service.ask("HEAD /metrics?x=1 HTTP/1.1\r\nAccept: text/plain\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let length = |head: &str| head.lines().any(|line| line.starts_with("Content-Length: "));
    assert!(length(&answer), "{answer}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/x HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("BREW /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("\x16\x03\r\n\r\n", "400 "),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "405 "),
        ("GET /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "413 "),
    ] {
        let answer = service.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request} {answer}");
        let is_allowed = answer.contains("\r\nAllow: GET, HEAD\r\n");
        assert_eq!(is_allowed, status.starts_with("405"), "{answer}");
        assert!(length(&answer), "{answer}");
    }
    let long = service.ask(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(8200)));
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
}

#[test]
fn a_hundred_at_once_share_few_copies_none_older_than_its_request() {
    let service = Service::start();
    service.runs.store(false, Ordering::Relaxed);
    let mut slow: Vec<TcpStream> = (0..50).map(|_| service.connect()).collect();
    for client in &mut slow {
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    let handed: Vec<UnixStream> = (0..50)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            service.hand_over.send(theirs.into()).unwrap();
            ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            ours
        })
        .collect();
    service.runs.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for mut client in slow {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        seen.push(frames(&text));
    }
    for mut client in handed {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        seen.push(frames(&text));
    }
    let copies = service.copies.load(Ordering::Relaxed);
    assert!(copies < 20, "{copies} copies for 100 clients");
    // One after the other: each gets a copy that was made after its request.
    for _ in 0..5 {
        let before = service.copies.load(Ordering::Relaxed);
        assert!(frames(&service.ask("GET /metrics HTTP/1.1\r\n\r\n")) > before);
    }
}

#[test]
fn slow_and_silent_clients_hold_nobody_up_and_too_many_are_refused() {
    let service = Service::start();
    let silent: Vec<TcpStream> = (0..20).map(|_| service.connect()).collect();
    let mut half = service.connect();
    half.write_all(b"GET /met").unwrap();
    // They read nothing.
    let mut deaf: Vec<TcpStream> = (0..20).map(|_| service.connect()).collect();
    for client in &mut deaf {
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    // One goes before its reply is there.
    let mut gone = service.connect();
    gone.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    drop(gone);
    assert!(service.ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
    let crowd: Vec<TcpStream> = (0..256).map(|_| service.connect()).collect();
    // The last ones of the crowd were refused. When the silent ones have had their time, there is room again.
    let mut last = String::new();
    (&crowd[255]).read_to_string(&mut last).unwrap();
    assert!(last.starts_with("HTTP/1.1 503 "), "{last}");
    for mut client in silent {
        assert_eq!(client.read(&mut [0; 9]).unwrap(), 0, "it was closed");
    }
    drop(crowd);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !service.ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 ") {
        assert!(std::time::Instant::now() < end);
    }
}
