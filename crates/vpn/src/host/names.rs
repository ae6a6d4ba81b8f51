//! Endpoints given by name: resolved on threads of their own, and again when a peer is silent.

use crate::file::config::PeerEndpoint;
use crate::file::values::canonical;
use adit_packet::Instant;
use adit_runtime::RaisedPriority;
use adit_service::helper;
use adit_tunnel::PublicKey;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// Resolver threads: a silent name server blocks one of them for tens of seconds, not the others.
const THREADS: usize = 4;

/// How long after a failure the next attempt follows, doubled up to the maximum.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The peers whose endpoints have names.
#[derive(Debug)]
pub struct Names {
    peers: BTreeMap<PublicKey, Named>,
    questions: Arc<Questions>,
    answers: mpsc::Receiver<Answer>,
    /// Answers that came while a start waited for them.
    early: VecDeque<Answer>,
    sender: mpsc::Sender<Answer>,
    wake: Arc<OwnedFd>,
    has_threads: bool,
}

#[derive(Debug)]
struct Named {
    host: String,
    port: u16,
    is_asked: bool,
    /// Whether an address was found before.
    is_known: bool,
    retry_at: Option<Instant>,
    delay: Duration,
}

/// The result of a lookup.
#[derive(Debug)]
pub enum News {
    /// The address of a peer.
    Found(PublicKey, SocketAddr),
    /// The name cannot be resolved for now; reported once until it can be.
    Failed(String),
}

#[derive(Debug, Default)]
struct Questions {
    queue: Mutex<VecDeque<Question>>,
    more: Condvar,
}

#[derive(Debug)]
struct Question {
    peer: PublicKey,
    host: String,
    port: u16,
}

#[derive(Debug)]
struct Answer {
    peer: PublicKey,
    host: String,
    port: u16,
    result: io::Result<Vec<SocketAddr>>,
}

impl Names {
    /// No name yet.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (sender, answers) = mpsc::channel();
        Ok(Self {
            peers: BTreeMap::new(),
            questions: Arc::default(),
            answers,
            early: VecDeque::new(),
            sender,
            wake: Arc::new(wake),
            has_threads: false,
        })
    }

    /// Sets or removes the name of a peer; a new name is looked up at once.
    pub fn set(&mut self, peer: PublicKey, endpoint: Option<&PeerEndpoint>) {
        let Some(PeerEndpoint::Name { host, port }) = endpoint else {
            self.peers.remove(&peer);
            return;
        };
        let known = self.peers.get(&peer);
        if known.is_some_and(|known| (&known.host, known.port) == (host, *port)) {
            return;
        }
        let (host, port) = (host.clone(), *port);
        let (is_asked, is_known, retry_at, delay) = (false, false, None, RETRY_FIRST);
        let named = Named { host, port, is_asked, is_known, retry_at, delay };
        self.peers.insert(peer, named);
        self.ask(peer);
    }

    /// As [`Self::set`], but the name was resolved before: it is looked up when the peer is silent.
    pub fn resume(&mut self, peer: PublicKey, endpoint: Option<&PeerEndpoint>) {
        if let Some(PeerEndpoint::Name { host, port }) = endpoint {
            let (host, port) = (host.clone(), *port);
            let (is_asked, is_known, retry_at, delay) = (false, true, None, RETRY_FIRST);
            self.peers.insert(peer, Named { host, port, is_asked, is_known, retry_at, delay });
        }
    }

    /// The name of a peer, if it has one.
    pub fn name_of(&self, peer: &PublicKey) -> Option<String> {
        self.peers.get(peer).map(|named| format!("{}:{}", named.host, named.port))
    }

    /// Looks the name of a peer up, if it has one and no lookup is running.
    pub fn ask(&mut self, peer: PublicKey) {
        let Some(named) = self.peers.get_mut(&peer).filter(|named| !named.is_asked) else { return };
        named.is_asked = true;
        named.retry_at = None;
        let question = Question { peer, host: named.host.clone(), port: named.port };
        // As many questions as peers at most: each has one at a time.
        let queue = &self.questions.queue;
        queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(question);
        self.questions.more.notify_one();
        self.start_threads();
    }

    /// Waits for the answers to all questions, for at most `time_max`; [`Self::news`] returns them.
    pub fn wait(&mut self, time_max: Duration) {
        let end = std::time::Instant::now() + time_max;
        while self.early.len() < self.peers.len() {
            let left = end.saturating_duration_since(std::time::Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) => self.early.push_back(answer),
                Err(_) => break,
            }
        }
    }

    /// When [`Self::retry`] must be called.
    pub fn next_retry(&self) -> Option<Instant> {
        self.peers.values().filter_map(|named| named.retry_at).min()
    }

    /// Repeats lookups that failed long enough ago.
    pub fn retry(&mut self, now: Instant) {
        let due = |named: &Named| named.retry_at.is_some_and(|at| at <= now);
        let due: Vec<PublicKey> =
            self.peers.iter().filter(|(_, named)| due(named)).map(|(peer, _)| *peer).collect();
        due.into_iter().for_each(|peer| self.ask(peer));
    }

    /// The results of lookups; `current` returns the address that a peer has now. Call it when the
    /// descriptor is readable.
    pub fn news(
        &mut self,
        now: Instant,
        mut current: impl FnMut(&PublicKey) -> Option<SocketAddr>,
    ) -> Vec<News> {
        // Only to make it unreadable.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        let mut news = Vec::new();
        for Answer { peer, host, port, result } in
            self.early.drain(..).chain(self.answers.try_iter())
        {
            let Some(named) = self.peers.get_mut(&peer) else { continue };
            if (&named.host, named.port) != (&host, port) {
                continue;
            }
            named.is_asked = false;
            let found = result.and_then(|found| {
                let current = current(&peer);
                // One from before the start is not yet known to be silent.
                let next = match current.filter(|address| found.contains(address)) {
                    Some(address) if !named.is_known => Some(address),
                    _ => next_of(&found, current),
                };
                next.ok_or_else(|| io::ErrorKind::NotFound.into())
            });
            match found {
                Ok(address) => {
                    (named.delay, named.is_known) = (RETRY_FIRST, true);
                    news.push(News::Found(peer, address));
                }
                Err(error) => {
                    if named.delay == RETRY_FIRST {
                        news.push(News::Failed(format!("{}: {error}", named.host)));
                    }
                    named.retry_at = now.checked_add(named.delay);
                    named.delay = (named.delay * 2).min(RETRY_MAX);
                }
            }
        }
        news
    }

    fn start_threads(&mut self) {
        if self.has_threads {
            return;
        }
        self.has_threads = true;
        for number in 0..THREADS {
            let questions = Arc::clone(&self.questions);
            let (answers, wake) = (self.sender.clone(), Arc::clone(&self.wake));
            let work = move || {
                RaisedPriority::lower();
                answer(&questions, &answers, &wake);
            };
            // Without any thread the names stay unknown, and everything else works.
            let _ = std::thread::Builder::new().name(format!("names-{number}")).spawn(work);
        }
    }
}

impl AsFd for Names {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Runs lookups until the owner is dropped.
fn answer(questions: &Questions, answers: &mpsc::Sender<Answer>, wake: &OwnedFd) {
    loop {
        let mut queue = questions.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Question { peer, host, port } = loop {
            match queue.pop_front() {
                Some(question) => break question,
                None => {
                    queue = questions.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(queue);
        adit_runtime::panics::failpoint("names");
        let found = helper::resolve(&host, port);
        let result = found.map(|found| found.into_iter().map(canonical).collect());
        if answers.send(Answer { peer, host, port, result }).is_err() {
            return;
        }
        // It only fails if it is readable already.
        let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
    }
}

/// The address after the current one, so that each address of a host is tried in turn.
fn next_of(found: &[SocketAddr], current: Option<SocketAddr>) -> Option<SocketAddr> {
    let at = found.iter().position(|&address| Some(address) == current);
    let next = at.map_or(0, |at| at + 1);
    found.get(next).or_else(|| found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    const PEER: PublicKey = PublicKey([7; 32]);

    fn wait(names: &mut Names, now: Instant) -> Vec<News> {
        for _ in 0..600 {
            let mut fds = [PollFd::new(names, PollFlags::IN)];
            let tenth = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            poll(&mut fds, Some(&tenth)).unwrap();
            let news = names.news(now, |_| None);
            if !news.is_empty() {
                return news;
            }
        }
        panic!("no answer");
    }

    fn name(host: &str) -> PeerEndpoint {
        PeerEndpoint::Name { host: host.to_owned(), port: 51820 }
    }

    #[test]
    fn a_name_is_found_on_another_thread() {
        let mut names = Names::new().unwrap();
        // An address with a zone is a name, too: here of the loopback interface.
        names.set(PEER, Some(&name("::1%1")));
        assert!(matches!(
            wait(&mut names, Instant::ZERO)[..],
            [News::Found(PEER, address)] if address.port() == 51820
        ));
        assert_eq!(names.name_of(&PEER).unwrap(), "::1%1:51820");
    }

    #[test]
    fn a_failure_is_reported_once_and_retried() {
        let mut names = Names::new().unwrap();
        names.set(PEER, Some(&name("no-such-host.invalid")));
        assert!(matches!(&wait(&mut names, Instant::ZERO)[..], [News::Failed(_)]));
        let at = names.next_retry().unwrap();
        assert_eq!(at.since_origin(), RETRY_FIRST);
        names.retry(at);
        assert_eq!(names.next_retry(), None);
        for _ in 0..1200 {
            std::thread::sleep(Duration::from_millis(50));
            assert!(names.news(at, |_| None).is_empty(), "it was told before");
            if names.next_retry().is_some() {
                break;
            }
        }
        assert_eq!(names.next_retry().unwrap().since(at), RETRY_FIRST * 2);
        names.set(PEER, None);
        assert_eq!(names.next_retry(), None);
    }

    #[test]
    fn each_address_has_its_turn() {
        let found: Vec<SocketAddr> =
            ["192.0.2.1:1", "192.0.2.2:1"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(next_of(&found, None), Some(found[0]));
        assert_eq!(next_of(&found, Some(found[0])), Some(found[1]));
        assert_eq!(next_of(&found, Some(found[1])), Some(found[0]));
        assert_eq!(next_of(&[], Some(found[1])), None);
    }
}
