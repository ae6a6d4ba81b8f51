//! What programs and name servers do: here, or in the helper of a process that may run nothing.

use crate::changes::filter::TableId;
use crate::changes::{program, stale};
use crate::helper::ask::{Ask, Reply};
use crate::helper::client::installed;
use adit_device::Netns;
use adit_device::process::Child;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

/// Runs a program of the configuration to its end, without a shell; its output goes to standard error.
///
/// # Errors
/// Why it failed: it does not exist, exits with another status than 0, or takes too long.
pub fn run(words: &[String]) -> Result<(), String> {
    let Some(helper) = installed() else {
        return program::run(words, None).map_err(|error| error.to_string());
    };
    match helper.ask(&Ask::Run(words.to_vec()), &[]) {
        Ok((Reply::Done, _)) => Ok(()),
        Ok((Reply::Output(_, _, why), _)) => Err(why),
        Ok(_) => Err("the helper process sent another reply".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The addresses of a name.
///
/// # Errors
/// Those of getaddrinfo(3).
pub fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let Some(helper) = installed() else {
        return Ok((name, port).to_socket_addrs()?.collect());
    };
    match helper.ask(&Ask::Resolve(name.to_owned(), port), &[])?.0 {
        Reply::Addresses(result) => result.map_err(io::Error::other),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Our tables of the packet filter; none where there is no nft.
#[must_use]
pub fn filter_tables(netns: Option<&Netns>) -> Vec<TableId> {
    let Some(helper) = installed() else { return stale::filter_tables(netns) };
    let with = netns.map(AsFd::as_fd);
    match helper.ask(&Ask::FilterTables, with.as_slice()) {
        Ok((Reply::Tables(tables), _)) => tables,
        _ => Vec::new(),
    }
}

/// What the service defines, of a helper; `None` without one.
#[must_use]
pub fn service(bytes: &[u8]) -> Option<Vec<u8>> {
    match installed()?.ask(&Ask::Service(bytes.to_vec()), &[]) {
        Ok((Reply::Service(bytes), _)) => Some(bytes),
        _ => Some(Vec::new()),
    }
}

/// Has the helper start the program that takes over, with this standard output; returns it and the socket to it. `None`
/// without a helper.
pub fn succeed(stdout: BorrowedFd<'_>) -> Option<io::Result<(Child, OwnedFd)>> {
    let asked = installed()?.ask(&Ask::Succeed, &[stdout]);
    Some(asked.and_then(|(reply, fds)| match (reply, <[OwnedFd; 2]>::try_from(fds)) {
        (Reply::Started(pid), Ok([pidfd, socket])) => Ok((Child::adopt(pid, pidfd)?, socket)),
        (Reply::NotOpened(failure), _) => Err(failure.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }))
}

/// Waits for that program. Returns how it exited; `None` if another process than the helper is its parent. The outer `None`:
/// there is no helper.
#[must_use]
pub fn await_successor() -> Option<Option<ExitStatus>> {
    match installed()?.ask(&Ask::AwaitSuccessor, &[]) {
        Ok((Reply::Exited(status), _)) => Some(status.map(ExitStatus::from_raw)),
        _ => Some(None),
    }
}

/// What tcpdump made of a filter.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Whether it understood the expression.
    pub is_success: bool,
    /// The program, as text.
    pub output: String,
    /// The last line of its errors.
    pub error: String,
}

/// Compiles a filter by tcpdump, which needs neither a privilege nor an interface for that.
///
/// # Errors
/// tcpdump cannot be run.
pub fn compile(link: &str, snap_len: u32, expression: &str) -> io::Result<Compiled> {
    let Some(helper) = installed() else { return compile_here(link, snap_len, expression) };
    let ask = Ask::Filter(link.to_owned(), snap_len, expression.to_owned());
    match helper.ask(&ask, &[])?.0 {
        Reply::Output(is_success, output, error) => Ok(Compiled { is_success, output, error }),
        Reply::NotOpened(failure) => Err(failure.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

pub(super) fn compile_here(link: &str, snap_len: u32, expression: &str) -> io::Result<Compiled> {
    let mut command = program::command(&["tcpdump".to_owned()]);
    let args = ["-y", link, "-s", &snap_len.to_string(), "-ddd", "--", expression];
    let output = command.args(args).env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = text(&output.stderr);
    Ok(Compiled {
        is_success: output.status.success(),
        output: text(&output.stdout),
        error: errors.lines().last().unwrap_or_default().to_owned(),
    })
}
