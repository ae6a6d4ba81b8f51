//! Pages of `/metrics`: fetched as Prometheus does, checked by promtool, and read.

use crate::support::{command, text};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

/// How long a page may take on a machine that does something else as well.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const OPEN: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// A page that was read.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The head of the reply.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Each sample by its name and labels, as they stand in the page.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// The page of a program by its control socket, in OpenMetrics.
    pub(crate) fn of(name: &str) -> Self {
        let stream = UnixStream::connect(format!("/run/adit/{name}.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::read(stream, "GET /metrics", OPEN)
    }

    /// The page at a TCP address.
    pub(crate) fn at(address: &str, request: &str, accept: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::read(stream, request, accept)
    }

    fn read(mut stream: impl Read + Write, request: &str, accept: &str) -> Self {
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply}"));
        let (head, body) = (head.to_owned(), body.to_owned());
        let mut samples = BTreeMap::new();
        for line in body.lines().filter(|line| head.contains(" 200 OK") && !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let before = samples.insert(name.to_owned(), value.parse().unwrap());
            assert_eq!(before, None, "each sample stands once: {line}");
        }
        Self { head, body, samples }
    }

    /// The only sample of that name with these labels, each as `key="value"`.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[&str]) -> f64 {
        let found = self.find(name, labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}\n{}", self.body);
        found[0]
    }

    /// The samples of that name with these labels.
    pub(crate) fn find(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let is_it = |sample: &str| {
            let (of, rest) = sample.split_once('{').unwrap_or((sample, ""));
            let has = |label: &&str| {
                rest.split(&format!("{label},")).count() > 1
                    || rest.ends_with(&format!("{label}}}"))
            };
            of == name && labels.iter().all(has)
        };
        self.samples.iter().filter(|(sample, _)| is_it(sample)).map(|(_, value)| *value).collect()
    }

    /// The sum of the samples of that name with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.find(name, labels).into_iter().sum()
    }
}

/// Has promtool look at a page in the older text format.
#[track_caller]
pub(crate) fn check(page: &Scrape) {
    assert!(page.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", page.head);
    let mut promtool = command(["promtool", "check", "metrics"]);
    let promtool = promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}\n{}", page.body);
}
