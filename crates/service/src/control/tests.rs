use crate::control::client::Client;
use crate::control::http::{Method, Parsed, Request, parse, parse_any};
use crate::control::name::Claim;
use crate::control::name::Name;
use crate::control::openapi::object;
use crate::control::rights::Rights;
use crate::control::route::{Parameter, Route, check};
use crate::control::server::{Reply, Server};
use crate::error::{Error, Kind};
use crate::journal::Journal;
use proptest::prelude::{ProptestConfig, any, proptest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A folder for one test, with a server that answers in a thread until it is dropped.
struct Rig {
    folder: PathBuf,
    name: Name,
    journal: Arc<Journal>,
    end: Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Rig {
    fn folder(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("adit-control-{test}-{}", std::process::id()))
    }

    fn new(test: &str) -> Self {
        let (folder, name) = (Self::folder(test), "lab".parse::<Name>().unwrap());
        let claim = Claim::in_folder(folder.clone(), name.clone()).unwrap();
        let mut server = Server::bind(claim, "switch").unwrap();
        let journal = Arc::new(Journal::new());
        server.describe(ROUTES.to_vec(), journal.clone());
        let (end, ended) = mpsc::channel();
        let go = folder.join("go");
        let thread = std::thread::spawn(move || {
            let mut late = None;
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                server.publish();
                if poll(&mut [PollFd::new(&server, PollFlags::IN)], Some(&timeout)).unwrap() > 0 {
                    server.serve(|request| match request.path.as_str() {
                        "/late" => {
                            late = Some(request.from);
                            Reply::Later
                        }
                        "/now" => Reply::ok(json!(late.is_some())),
                        _ => answer(request),
                    });
                } else if let Some(to) = late.take_if(|_| std::fs::exists(&go).unwrap()) {
                    server.reply(to, &Reply::ok(json!("late")));
                }
            }
            server.finish();
        });
        Self { folder, name, journal, end: Some((end, thread)) }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("lab.sock")
    }

    fn client(&self) -> Client {
        Client::at(self.name.clone(), self.path())
    }

    /// Lines of the events that a client follows, without the head of the reply.
    fn events(&self, target: &str, fields: &str) -> impl Iterator<Item = String> + use<> {
        let mut stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.find(String::is_empty).is_some(), "the head ends");
        lines
    }

    fn note(&self, text: &str) {
        self.journal.push(&json!({ "event": "note", "message": text }).to_string());
    }

    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A server that refuses what is too long does not read it all.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let (end, thread) = self.end.take().unwrap();
        end.send(()).unwrap();
        thread.join().unwrap();
        assert!(!self.path().exists(), "the socket is gone at the end");
        std::fs::remove_dir(&self.folder).unwrap();
    }
}

/// What the server of a test answers.
const ROUTES: [Route; 10] = [
    Route::get("/", "about", object),
    Route::get("/events", "events", object)
        .query(&[Parameter::new("after", "", ""), Parameter::new("follow", "", "")]),
    Route::get("/openapi.json", "the document", object),
    Route::get("/late", "later", object),
    Route::get("/now", "whether one waits", object),
    Route::get("/large", "8 MiB", object),
    Route::get("/huge", "40 MiB", object),
    Route::get("/private", "for members", object).for_members(),
    Route::change(Method::Post, "/echo/{word}", "a word", Some(object), object),
    Route::change(Method::Delete, "/busy", "an error", None, object),
];

fn answer(request: &Request) -> Reply {
    let segments = request.segments();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method, path.as_slice()) {
        (Method::Get, ["large"]) => Reply::ok(json!("x".repeat(8 << 20))),
        (Method::Get, ["huge"]) => Reply::ok(json!("x".repeat(40 << 20))),
        (Method::Post, ["echo", word]) => Reply::ok(json!([word, request.body])),
        (Method::Delete, ["busy"]) => {
            Error::usage("no").hint("really").object("busy").after(vec!["a".to_owned()]).into()
        }
        _ => Reply::unknown_path(request),
    }
}

#[test]
fn the_calls_of_the_server_are_known_to_the_sandbox() {
    let unknown =
        crate::control::server::SYSCALLS.iter().find(|name| !crate::sandbox::is_known(name));
    assert_eq!(unknown, None);
}

#[test]
fn asked_and_answered() {
    let rig = Rig::new("asked");
    let client = rig.client();
    let about = client.get("/").unwrap();
    assert_eq!((&about["name"], &about["kind"]), (&json!("lab"), &json!("switch")));
    assert_eq!(about["pid"], std::process::id());
    let path = format!("/echo/{}", crate::control::http::escape("ä b/%41"));
    let echo = client.send(Method::Post, &path, &json!({"a": 1})).unwrap();
    assert_eq!(echo, json!(["ä b/%41", {"a": 1}]));
    assert_eq!(client.get("/large").unwrap().as_str().unwrap().len(), 8 << 20);
    let mode = std::fs::metadata(rig.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_late_reply_goes_to_its_client_and_delays_no_other() {
    let rig = Rig::new("late");
    let waits = |is: bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while rig.client().get("/now").unwrap() != is {
            assert!(Instant::now() < end, "{is}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // One who does not wait for it: the reply is for nobody, though another one has its place.
    let mut gone = UnixStream::connect(rig.path()).unwrap();
    gone.write_all(b"GET /late HTTP/1.1\r\n\r\n").unwrap();
    waits(true);
    drop(gone);
    let next = UnixStream::connect(rig.path()).unwrap();
    std::fs::write(rig.folder.join("go"), "").unwrap();
    waits(false);
    next.set_nonblocking(true).unwrap();
    let read = (&next).read(&mut [0; 10]).unwrap_err();
    assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock);
    std::fs::remove_file(rig.folder.join("go")).unwrap();

    let client = rig.client();
    let asks = std::thread::spawn(move || client.get("/late").unwrap());
    waits(true);
    assert!(!asks.is_finished());
    std::fs::write(rig.folder.join("go"), "").unwrap();
    assert_eq!(asks.join().unwrap(), "late");
    std::fs::remove_file(rig.folder.join("go")).unwrap();
}

#[test]
fn an_error_arrives_as_it_was() {
    let rig = Rig::new("error");
    let error = rig.client().send(Method::Delete, "/busy", &Value::Null).unwrap_err();
    assert!(!error.report.done.is_empty());
    assert_eq!(error.report.hint.as_deref(), Some("really"));
    assert_eq!((error.report.done, error.report.message), (vec!["a".to_owned()], "no".to_owned()));
    let error = rig.client().get("/huge").unwrap_err();
    assert!(error.report.message.contains("the reply is too long"), "{error:?}");
    let error = rig.client().get("/nosuch").unwrap_err();
    assert!(error.report.message.contains("unknown request GET /nosuch"), "{error:?}");
    assert!(error.report.hint.unwrap().contains("GET / lists"));
}

#[test]
fn an_invalid_request_is_refused() {
    let rig = Rig::new("refused");
    assert!(rig.raw(b"\x16\x03\x01 hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(rig.raw(b"PUT / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    assert!(rig.raw(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    let body = "POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n";
    assert!(rig.raw(body.as_bytes()).starts_with("HTTP/1.1 413 "));
    assert!(
        rig.raw(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{x").starts_with("HTTP/1.1 400 ")
    );
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(rig.raw(chunked).starts_with("HTTP/1.1 411 "));
    rig.client().get("/").unwrap();
}

#[test]
fn a_path_says_which_methods_it_takes() {
    let rig = Rig::new("methods");
    for method in ["PUT", "OPTIONS", "TRACE", "PATCH", "POST"] {
        let reply = rig.raw(format!("{method} /now HTTP/1.1\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
        assert!(reply.contains("\r\nAllow: GET, HEAD\r\n"), "{reply}");
    }
    let reply = rig.raw(b"GET /busy HTTP/1.1\r\n\r\n");
    assert!(reply.contains("\r\nAllow: DELETE\r\n"), "{reply}");
    let reply = rig.raw(b"GET /now?x=1 HTTP/1.1\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("unknown key `x`"), "{reply}");
    // HEAD is GET without a body, with its length.
    let (get, head) =
        (rig.raw(b"GET /now HTTP/1.1\r\n\r\n"), rig.raw(b"HEAD /now HTTP/1.1\r\n\r\n"));
    assert!(get.starts_with(&head) && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get.len() > head.len());
    let listed = rig.client().get("/").unwrap()["paths"].as_array().unwrap().len();
    assert_eq!(listed, ROUTES.len());
    let document = rig.client().get("/openapi.json").unwrap();
    assert_eq!(document["paths"]["/echo/{word}"]["post"]["summary"], "a word");
}

#[test]
fn others_may_read_what_is_not_private_and_change_nothing() {
    let ask = |line: &str, rights| {
        let text = format!("{line} HTTP/1.1\r\n\r\n");
        let Parsed::Request(request) = parse(text.as_bytes()) else { panic!("{line}") };
        check(&ROUTES, &Request { rights, ..request })
            .map_err(|refusal| (refusal.status, refusal.body))
    };
    for line in ["GET /", "GET /now", "GET /events?after=7"] {
        assert_eq!(ask(line, Rights::Others), Ok(()), "{line}");
    }
    for line in ["GET /private", "DELETE /busy", "POST /echo/a"] {
        let (status, body) = ask(line, Rights::Others).unwrap_err();
        assert_eq!(status, 403, "{line}");
        assert!(body["hint"].as_str().unwrap().contains("as root"), "{body}");
        assert_eq!(ask(line, Rights::Members), Ok(()), "{line}");
    }
}

#[test]
fn who_follows_events_gets_each_once_also_after_a_break() {
    let rig = Rig::new("events");
    let parse = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    rig.note("before");
    let mut lines = rig.events("/events", "");
    let start = parse(&lines.next().unwrap());
    assert_eq!(
        (&start["event"], start["seq"].as_u64()),
        (&json!("start"), Some(rig.journal.last()))
    );
    rig.note("a");
    let a = parse(&lines.next().unwrap());
    assert_eq!((&a["message"], a["seq"].as_u64()), (&json!("a"), Some(rig.journal.last())));
    assert!(a["time_s"].as_f64().unwrap() > 1e9);
    drop(lines);
    rig.note("b");
    rig.note("c");
    let seq = a["seq"].as_u64().unwrap();
    // A browser comes again with the number in a field.
    let fields = format!("Accept: text/event-stream\r\nLast-Event-ID: {seq}\r\n");
    let mut lines = rig.events("/events", &fields);
    let rest: Vec<String> = lines.by_ref().take(9).collect();
    assert_eq!(rest[3], format!("id: {}", seq + 1));
    assert_eq!(parse(rest[4].strip_prefix("data: ").unwrap())["message"], "b");
    assert_eq!(parse(rest[7].strip_prefix("data: ").unwrap())["message"], "c");
    assert_eq!((rest[5].as_str(), rest[8].as_str()), ("", ""));
    rig.note("d");
    assert_eq!(lines.next().unwrap(), format!("id: {}", seq + 3));
    // All that are kept, without waiting for more.
    let all: Vec<Value> =
        rig.events("/events?after=0&follow=false", "").map(|l| parse(&l)).collect();
    let texts: Vec<&str> = all.iter().filter_map(|one| one["message"].as_str()).collect();
    assert_eq!(texts, ["before", "a", "b", "c", "d"]);
    for wrong in ["after=x", "after=-1", "follow=maybe"] {
        let reply = rig.raw(format!("GET /events?{wrong} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    }
}

#[test]
fn a_follower_that_does_not_read_holds_nobody_up_and_learns_what_it_missed() {
    let rig = Rig::new("follower");
    let mut lines = rig.events("/events", "");
    lines.next().unwrap();
    let text = "x".repeat(10_000);
    for number in 0..2000 {
        rig.note(&format!("{number} {text}"));
        if number % 200 == 0 {
            rig.client().get("/now").unwrap();
        }
    }
    // Those that fit into the socket, then the number of those that were lost, then the last.
    let (mut last, mut lost) = (None, 0);
    for line in lines {
        let line: Value = serde_json::from_str(&line).unwrap();
        lost += line["lost"].as_u64().unwrap_or(0);
        let Some(message) = line["message"].as_str() else { continue };
        let number: u64 = message.split(' ').next().unwrap().parse().unwrap();
        let expected = last.map_or(0, |last| last + 1) + std::mem::take(&mut lost);
        assert_eq!(number, expected);
        last = Some(number);
        if number == 1999 {
            break;
        }
    }
    assert_eq!(last, Some(1999));
}

#[test]
fn slow_and_many_clients_hold_nobody_up_and_are_counted() {
    let rig = Rig::new("slow");
    // One that never reads its reply, one that never ends its request.
    let mut sleeper = UnixStream::connect(rig.path()).unwrap();
    sleeper.write_all(b"GET /large HTTP/1.1\r\n\r\n").unwrap();
    let mut half = UnixStream::connect(rig.path()).unwrap();
    half.write_all(b"GET /").unwrap();
    rig.client().get("/").unwrap();
    // More clients than there is room for: the last get an error.
    let crowd: Vec<_> = (0..62).map(|_| UnixStream::connect(rig.path()).unwrap()).collect();
    assert!(rig.raw(b"").starts_with("HTTP/1.1 503 "));
    drop(crowd);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(about) = rig.client().get("/")
            && about["clients_dropped"].as_u64() >= Some(2)
        {
            break;
        }
        assert!(Instant::now() < end, "both are dropped after 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn there_is_one_of_each_name() {
    let rig = Rig::new("taken");
    let second = Claim::in_folder(rig.folder.clone(), rig.name.clone()).unwrap_err();
    assert_eq!(second.kind, Kind::Conflict);
    let pid = std::process::id().to_string();
    assert!(second.report.message.contains(&pid), "{}", second.report.message);
    rig.client().get("/").unwrap();
}

#[test]
fn the_socket_of_a_killed_program_is_taken_over() {
    let folder = Rig::folder("stale");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("lab.lock"), "4711\n").unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("lab.sock")).unwrap());
    Rig::new("stale").client().get("/").unwrap();
}

/// The helper of its sandbox holds the lock a moment longer.
#[test]
fn a_name_is_free_once_the_helper_of_a_killed_program_has_ended() {
    let folder = Rig::folder("helper");
    std::fs::create_dir(&folder).unwrap();
    let mut killed = std::process::Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", killed.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = folder.join("lab.lock");
    std::fs::write(&path, format!("{}\n", killed.id())).unwrap();
    let lock = std::fs::File::open(&path).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let is_held = Arc::new(AtomicBool::new(true));
    let helper = std::thread::spawn({
        let is_held = Arc::clone(&is_held);
        move || {
            std::thread::sleep(Duration::from_millis(300));
            is_held.store(false, Ordering::Relaxed);
            drop(lock);
        }
    });
    // Its parent has not asked for its status yet.
    let claim = Claim::in_folder(folder.clone(), "lab".parse().unwrap()).unwrap();
    assert!(!is_held.load(Ordering::Relaxed));
    drop(claim);
    helper.join().unwrap();
    killed.wait().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let folder = Rig::folder("open");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let refused = Claim::in_folder(folder.clone(), "lab".parse().unwrap()).unwrap_err();
    assert_eq!(refused.report.code, "ADIT-E0825");
    assert!(refused.report.hint.unwrap().ends_with(&format!("chmod o-w {}", folder.display())));
    // A link in its place is none either.
    let link = Rig::folder("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    assert!(Claim::in_folder(link.clone(), "lab".parse().unwrap()).is_err());
    std::fs::remove_file(link).unwrap();
    std::fs::remove_dir(folder).unwrap();
}

#[test]
fn names_are_files_and_nothing_else() {
    for good in ["lab", "a", "sw-1", "_x", "a.b"] {
        assert!(good.parse::<Name>().is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "-x", "a/b", "a b", "ä", &"x".repeat(49)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..crate::cases::cases(5_000) })]

    #[test]
    fn no_bytes_make_the_reader_of_requests_panic(tail in any::<Vec<u8>>(), head in 0..4usize) {
        let heads: [&[u8]; 4] =
            [b"", b"GET /", b"POST / HTTP/1.1\r\nContent-Length: ", b"HTTP/1.1 200 OK\r\n\r\n"];
        parse_any(&[heads[head], &tail].concat());
    }
}
