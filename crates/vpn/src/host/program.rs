//! Other programs that a tunnel runs: hooks, and what sets name servers.

use crate::file::config::Hook;
use crate::file::keys::Key;
use adit_device::IfName;
use adit_tunnel::PublicKey;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take: hooks of people do small things; one that hangs would keep a tunnel
/// from starting, or from ending.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Why a program did not do what it was to do.
#[derive(Debug)]
pub struct ProgramError {
    program: String,
    why: String,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.why)
    }
}

/// The words of a hook, with the device's name for `%i`.
pub fn words(hook: &Hook, name: &IfName) -> Vec<String> {
    let name = name.to_string();
    hook.0.iter().map(|word| word.replace("%i", &name)).collect()
}

/// The words of a hook of a peer: `%k` is its key, `%a` and `%p` are its address and port, as far as it
/// has any.
pub fn peer_words(
    hook: &Hook,
    name: &IfName,
    key: &PublicKey,
    at: Option<SocketAddr>,
) -> Vec<String> {
    let mut words = words(hook, name);
    let address = at.map_or(String::new(), |at| at.ip().to_string());
    let port = at.map_or(String::new(), |at| at.port().to_string());
    for word in &mut words {
        *word = word.replace("%k", &key.to_base64());
        *word = word.replace("%a", &address).replace("%p", &port);
    }
    words
}

/// Runs a program to its end, without a shell; what it prints goes to standard error.
///
/// # Errors
/// It is not there, ends with a status other than 0, or takes longer than 30 s and is killed.
pub fn run(words: &[String], input: Option<&str>) -> Result<(), ProgramError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |why: String| ProgramError { program: program.clone(), why };
    let mut command = Command::new(&program);
    command.args(words.get(1..).unwrap_or_default());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(io::stderr());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A few lines: less than a pipe holds. That it is not read shows in the status.
        let _ = stdin.write_all(input.as_bytes());
    }
    match wait(&mut child) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(failed(status.to_string())),
        Ok(None) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failed(format!("it took longer than {} s and was killed", TIME_MAX.as_secs())))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn wait(child: &mut Child) -> io::Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < TIME_MAX {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

/// How name servers are set on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    /// systemd-resolved runs.
    Resolved,
    /// There is a `resolvconf`.
    Resolvconf,
}

impl Dns {
    /// What this machine has; `None` means that nothing can be done.
    pub fn find() -> Option<Self> {
        let is_resolved = std::path::Path::new("/run/systemd/resolve/io.systemd.Resolve").exists();
        if is_resolved && is_in_path("resolvectl") {
            Some(Self::Resolved)
        } else if is_in_path("resolvconf") {
            Some(Self::Resolvconf)
        } else {
            None
        }
    }

    /// The programs that set the servers for all names, each with its input.
    pub fn set(
        self,
        name: &IfName,
        servers: &[IpAddr],
        search: &[String],
    ) -> Vec<(Vec<String>, Option<String>)> {
        let name = name.to_string();
        let command = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        match self {
            Self::Resolved => {
                let mut dns = command(&["resolvectl", "dns", &name]);
                dns.extend(servers.iter().map(ToString::to_string));
                let mut domain = command(&["resolvectl", "domain", &name]);
                domain.extend(search.iter().cloned());
                // All names go there, as with the exclusive mode of resolvconf.
                domain.push("~.".to_owned());
                vec![(dns, None), (domain, None)]
            }
            Self::Resolvconf => {
                let mut input: String =
                    servers.iter().map(|server| format!("nameserver {server}\n")).collect();
                if !search.is_empty() {
                    input.push_str(&format!("search {}\n", search.join(" ")));
                }
                let words = command(&["resolvconf", "-a", &name, "-m", "0", "-x"]);
                vec![(words, Some(input))]
            }
        }
    }

    /// The program that takes them back.
    pub fn unset(self, name: &IfName) -> Vec<String> {
        let name = name.to_string();
        let words: &[&str] = match self {
            Self::Resolved => &["resolvectl", "revert", &name],
            Self::Resolvconf => &["resolvconf", "-d", &name, "-f"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_is_run_with_its_words_and_no_shell() {
        run(&words("test $HOME = $HOME"), None).unwrap();
        run(&words("grep -q secret"), Some("a secret\n")).unwrap();
        assert!(run(&words("false"), None).unwrap_err().to_string().contains("exit status: 1"));
        assert!(run(&words("/no/such/program"), None).is_err());
        let hook = Hook(words("echo %i up-%i"));
        assert_eq!(super::words(&hook, &"site".parse().unwrap()), ["echo", "site", "up-site"]);
    }

    #[test]
    fn name_servers_are_told_to_whoever_keeps_them() {
        let (name, server) = ("site".parse().unwrap(), "192.0.2.53".parse().unwrap());
        let line = |dns: Dns| {
            let all = dns.set(&name, &[server], &["example.net".to_owned()]);
            all.iter().map(|(words, _)| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            line(Dns::Resolved),
            ["resolvectl dns site 192.0.2.53", "resolvectl domain site example.net ~."]
        );
        assert_eq!(line(Dns::Resolvconf), ["resolvconf -a site -m 0 -x"]);
        assert_eq!(Dns::Resolvconf.unset(&name).join(" "), "resolvconf -d site -f");
    }
}
