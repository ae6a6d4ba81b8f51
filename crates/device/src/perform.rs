//! The side with privileges: performs the requests of a process without them.

use crate::broker::{Failure, FailureDetails, Request};
use crate::netlink::open_socket;
use crate::sys::bpf::Instruction;
use crate::{
    DeviceOptions, Error, IfIndex, Netns, PacketSocket, PacketSocketOptions, bpf, rights, sys, wire,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// The longest BPF program that is loaded: the kernel's limit for users without privileges.
const INSTRUCTIONS_MAX: usize = 4096;

/// The most entries of a map.
const ENTRIES_MAX: u32 = 1 << 20;

/// Performs a request with the privileges of this process; `with` are the descriptors that it is about.
///
/// # Errors
/// What the operating system refused; EINVAL: descriptors are missing, or the request is none.
pub fn perform(request: Request, with: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Failure> {
    let mut with = with.into_iter();
    let invalid = || io::Error::from(Errno::INVAL);
    let index = |number| IfIndex::new(number).ok_or_else(invalid);
    let fd = match request {
        Request::Namespace(path) => OwnedFd::from(Netns::open(path)?),
        Request::DeviceNamespace => sys::tun::dev_netns(with.next().ok_or_else(invalid)?.as_fd())?,
        Request::Netlink(protocol, groups) => {
            let netns = with.next().map(Netns::try_from).transpose()?;
            open_socket(netns.as_ref(), protocol, groups)?
        }
        Request::Packet(wanted) => {
            let netns = with.next().map(Netns::try_from).transpose()?;
            let options = PacketSocketOptions {
                filter: None,
                promiscuous: wanted.promiscuous,
                incoming_only: wanted.incoming_only,
                buffer_len: wanted.buffer_len,
                send_buffer_len: wanted.send_buffer_len,
                netns: netns.map(Arc::new),
            };
            PacketSocket::open(index(wanted.index)?, &options)?.into()
        }
        Request::Device(options) => {
            let mut options: DeviceOptions = wire::decode(&options).ok_or_else(invalid)?;
            if let Some(netns) = with.next() {
                options = options.netns(Netns::try_from(netns)?);
            }
            let queues = options.open().map_err(failure_of)?.into_queues();
            return Ok(queues.into_iter().map(OwnedFd::from).collect());
        }
        Request::Inet(wanted) => rights::inet_here(&wanted)?,
        Request::Mark(mark) => {
            rights::mark_here(with.next().ok_or_else(invalid)?.as_fd(), mark)?;
            return Ok(Vec::new());
        }
        Request::Unix(wanted) => rights::unix_here(&wanted)?,
        Request::RemoveSocket(path) => {
            rights::remove_here(&path)?;
            return Ok(Vec::new());
        }
        Request::Play(path) => rights::play_for_another(&path)?,
        Request::Record(path, is_nonblocking) => rights::record_for_another(&path, is_nonblocking)?,
        Request::Map(map) if map.entries_max <= ENTRIES_MAX => sys::bpf::map_create(map)?,
        Request::Program(kind, instructions) => {
            let instructions: Vec<Instruction> = wire::decode(&instructions).ok_or_else(invalid)?;
            if instructions.len() > INSTRUCTIONS_MAX || !bpf::TYPES.contains(&kind) {
                return Err(invalid().into());
            }
            let maps: Vec<OwnedFd> = with.collect();
            let instructions = bpf::with_maps(instructions, |at| {
                maps.get(usize::try_from(at).ok()?).map(AsRawFd::as_raw_fd)
            })?;
            sys::bpf::prog_load(kind, &instructions, bpf::LICENCE, &mut [])?
        }
        Request::Ingress(number) => {
            let (Some(program), Some(netns)) = (with.next(), with.next()) else {
                return Err(invalid().into());
            };
            let index = index(number)?.get();
            Netns::try_from(netns)?.run(|| sys::bpf::link_ingress(program.as_fd(), index))??
        }
        Request::Map(_) => return Err(invalid().into()),
    };
    Ok(vec![fd])
}

/// The failure as it crosses, with its cause in words.
fn failure_of(error: Error) -> Failure {
    let details = FailureDetails {
        op: error.op().to_owned(),
        object: error.object().to_owned(),
        code: error.code().to_owned(),
        text: error.cause().to_string(),
        remedy: error.cause().remedy(),
    };
    Failure { errno: error.errno(), details: Some(Box::new(details)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Create, Mode};

    /// What crosses is what a process without privileges sees: the code, the text, the remedy, the errno.
    #[test]
    fn a_failure_keeps_its_cause() {
        let options =
            DeviceOptions::new(Mode::Tap).name("absent0".parse().unwrap()).create(Create::Attach);
        let here = options.clone().open().unwrap_err();
        let request = Request::Device(wire::encode(&options));
        let request = wire::decode(&wire::encode(&request)).unwrap();
        let failure = perform(request, Vec::new()).unwrap_err();
        let failure: Failure = wire::decode(&wire::encode(&failure)).unwrap();
        let there = Error::of_failure(failure, "open", "absent0");
        assert_eq!(there.to_string(), here.to_string());
        assert_eq!((there.code(), there.errno()), (here.code(), here.errno()));
        assert_eq!(there.remedy(), here.remedy());
        assert!(matches!(there.cause(), Cause::Reported(_)));
    }

    #[test]
    fn a_request_without_its_descriptors_is_refused() {
        for request in [Request::DeviceNamespace, Request::Mark(1), Request::Ingress(1)] {
            let failure = perform(request, Vec::new()).unwrap_err();
            assert_eq!(failure.errno, Some(libc::EINVAL));
        }
        let request = Request::Program(99, wire::encode(&Vec::<Instruction>::new()));
        assert_eq!(perform(request, Vec::new()).unwrap_err().errno, Some(libc::EINVAL));
    }
}
