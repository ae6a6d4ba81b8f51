//! Which files, programs and names the worker may ask for: those of the configuration, which the helper reads by itself.

use crate::helper::ask::Ask;
use adit_device::broker::Request;
use adit_device::process::Child;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Its files, and those that it names.
    pub files: BTreeSet<PathBuf>,
    /// Programs, with their arguments. In a word, `%k`, `%a`, `%p` stand for a key, an address, a port.
    pub programs: Vec<Vec<String>>,
    /// Names of hosts.
    pub names: BTreeSet<String>,
}

/// The characters of keys, addresses and ports.
const VALUE: &str = "+/=:.%[]-_";

/// Answers a request of the service.
type Service = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// Starts the program that takes over, with its standard output; returns it and the socket to it.
type Succeed = dyn Fn(OwnedFd) -> io::Result<(Child, OwnedFd)> + Send + Sync;

/// Decides for the helper.
pub struct Policy {
    allowed: Mutex<Allowed>,
    read: Box<dyn Fn() -> Allowed + Send + Sync>,
    may_read: Box<dyn Fn(&Path) -> bool + Send + Sync>,
    service: Box<Service>,
    succeed: Box<Succeed>,
    has_sockets_alone: bool,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Policy {
    /// Allows what `read` returns, which reads the configuration. It is called again where something is asked for that is not
    /// allowed: the files may have changed.
    pub fn new(read: impl Fn() -> Allowed + Send + Sync + 'static) -> Self {
        Self {
            allowed: Mutex::default(),
            read: Box::new(read),
            may_read: Box::new(|_| false),
            service: Box::new(|_| Vec::new()),
            succeed: Box::new(|_| Err(Errno::PERM.into())),
            has_sockets_alone: false,
        }
    }

    /// Beside files, names and requests of the service, allows to open sockets, and nothing else: no ports, no actions on the
    /// host, no programs.
    #[must_use]
    pub fn with_sockets_alone(self) -> Self {
        Self { has_sockets_alone: true, ..self }
    }

    pub(super) fn allows_ask(&self, ask: &Ask) -> bool {
        let is_opened = |request: &Request| {
            matches!(request, Request::Inet(_) | Request::Mark(_) | Request::Netlink(..))
        };
        match ask {
            Ask::Open(request) => !self.has_sockets_alone || is_opened(request),
            Ask::File(..) | Ask::Resolve(..) | Ask::Service(_) | Ask::Detach | Ask::Hold => true,
            _ => !self.has_sockets_alone,
        }
    }

    /// Also allows to read files that `may_read` accepts, by their content.
    #[must_use]
    pub fn reading(self, may_read: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        Self { may_read: Box::new(may_read), ..self }
    }

    /// Answers the requests that the service defines.
    #[must_use]
    pub fn answering(self, service: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { service: Box::new(service), ..self }
    }

    /// Starts the program that takes over from this one.
    #[must_use]
    pub fn succeeded_by(
        self,
        start: impl Fn(OwnedFd) -> io::Result<(Child, OwnedFd)> + Send + Sync + 'static,
    ) -> Self {
        Self { succeed: Box::new(start), ..self }
    }

    fn allows(&self, is_it: impl Fn(&Allowed) -> bool) -> bool {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_it(&allowed) {
            *allowed = (self.read)();
        }
        is_it(&allowed)
    }

    pub(super) fn allows_file(&self, path: &Path) -> bool {
        self.allows(|allowed| allowed.files.contains(path)) || (self.may_read)(path)
    }

    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.allows(|allowed| allowed.names.contains(name))
    }

    pub(super) fn allows_program(&self, words: &[String]) -> bool {
        self.allows(|allowed| allowed.programs.iter().any(|known| matches(known, words)))
    }

    pub(super) fn succeed(&self, stdout: OwnedFd) -> io::Result<(Child, OwnedFd)> {
        (self.succeed)(stdout)
    }

    pub(super) fn serve(&self, bytes: &[u8]) -> Vec<u8> {
        (self.service)(bytes)
    }
}

/// Whether words are those of a program of the configuration, with values in their places.
fn matches(known: &[String], words: &[String]) -> bool {
    known.len() == words.len() && known.iter().zip(words).all(|(known, word)| is_word(known, word))
}

fn is_word(known: &str, word: &str) -> bool {
    let place = ["%k", "%a", "%p"].iter().filter_map(|place| known.find(place)).min();
    let Some((before, after)) = place.and_then(|at| known.split_at_checked(at)) else {
        return known == word;
    };
    let Some(rest) = word.strip_prefix(before) else { return false };
    let after = after.get(2..).unwrap_or_default();
    let is_value = |c: char| c.is_ascii_alphanumeric() || VALUE.contains(c);
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    // Wherever the value ends, the rest must match too.
    ends.take_while(|&at| rest.get(..at).is_some_and(|value| value.chars().all(is_value)))
        .any(|at| rest.get(at..).is_some_and(|rest| is_word(after, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::action::Action;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_has_the_words_of_the_configuration() {
        let known = words("/bin/echo %k at=%a:%p end");
        assert!(matches(&known, &words("/bin/echo AbC+/9= at=192.0.2.1:51820 end")));
        assert!(matches(&known, &words("/bin/echo AbC+/9= at=: end")), "an unknown address");
        for other in [
            "/bin/sh AbC+/9= at=192.0.2.1:51820 end",
            "/bin/echo AbC+/9= at=192.0.2.1:51820 end more",
            "/bin/echo AbC+/9= at=192.0.2.1:51820 other",
            "/bin/echo Ab;C at=192.0.2.1:51820 end",
            "/bin/echo AbC=",
        ] {
            assert!(!matches(&known, &words(other)), "{other}");
        }
    }

    #[test]
    fn a_policy_of_sockets_alone_allows_no_port_and_no_action() {
        let policy = Policy::new(Allowed::default).with_sockets_alone();
        assert!(policy.allows_ask(&Ask::Open(Request::Netlink(0, 0))));
        assert!(policy.allows_ask(&Ask::Resolve("example.org".to_owned(), 53)));
        for ask in [
            Ask::Open(Request::Play("/etc/passwd".into())),
            Ask::Open(Request::Record("/tmp/a".into(), false)),
            Ask::Open(Request::Namespace("/proc/1/ns/net".into())),
            Ask::Perform(Action::SetUp(true)),
            Ask::Begin(None),
            Ask::Run(words("true")),
            Ask::Filter("EN10MB".to_owned(), 0, String::new()),
            Ask::Succeed,
        ] {
            assert!(!policy.allows_ask(&ask), "{ask:?}");
            assert!(Policy::new(Allowed::default).allows_ask(&ask), "{ask:?}");
        }
    }

    #[test]
    fn the_configuration_is_read_again_for_what_is_not_allowed() {
        static READS: AtomicU32 = AtomicU32::new(0);
        let policy = Policy::new(|| {
            let number = READS.fetch_add(1, Ordering::Relaxed);
            Allowed { names: [format!("host-{number}")].into(), ..Allowed::default() }
        });
        assert!(policy.allows_name("host-0"));
        assert!(policy.allows_name("host-0"), "without reading again");
        assert!(policy.allows_name("host-1"));
        assert!(!policy.allows_name("host-0"));
        assert!(!policy.allows_file(Path::new("/etc/shadow")));
        assert!(!policy.allows_program(&words("reboot")));
    }
}
