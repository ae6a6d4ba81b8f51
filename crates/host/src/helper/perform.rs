//! Opens what the worker asks for.

use adit_device::broker::{
    Failure, FailureDetails, Request, play_for_another, record_for_another, remove_for_another,
};
use adit_device::netlink::open_socket;
use adit_device::rights::{open_inet, open_unix, set_mark};
use adit_device::{
    DeviceOptions, Error, IfIndex, Netns, PacketSocket, PacketSocketOptions, bpf, wire,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Performs a request with the privileges of this process, which has no broker; `with` are the descriptors that it is about.
pub(super) fn perform(request: Request, with: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Failure> {
    let mut with = with.into_iter();
    let invalid = || io::Error::from(Errno::INVAL);
    let index = |number| IfIndex::new(number).ok_or_else(invalid);
    let fd = match request {
        Request::Namespace(path) => OwnedFd::from(Netns::open(path)?),
        Request::DeviceNamespace => {
            Netns::of_device(with.next().ok_or_else(invalid)?.as_fd())?.into()
        }
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
        Request::Inet(wanted) => open_inet(&wanted)?,
        Request::Mark(mark) => {
            set_mark(with.next().ok_or_else(invalid)?, mark)?;
            return Ok(Vec::new());
        }
        Request::Unix(wanted) => open_unix(&wanted)?,
        Request::RemoveSocket(path) => {
            remove_for_another(&path)?;
            return Ok(Vec::new());
        }
        Request::Play(path) => play_for_another(&path)?,
        Request::Record(path, is_nonblocking) => record_for_another(&path, is_nonblocking)?,
        Request::Map(map) => bpf::make_map(map)?,
        Request::Program(kind, instructions) => {
            bpf::load_for_another(kind, &instructions, &with.collect::<Vec<_>>())?
        }
        Request::Ingress(number) => {
            let (Some(program), Some(netns)) = (with.next(), with.next()) else {
                return Err(invalid().into());
            };
            bpf::attach_for_another(program.as_fd(), &Netns::try_from(netns)?, index(number)?)?
        }
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
    Failure {
        errno: error.errno(),
        message: details.text.clone(),
        details: Some(Box::new(details)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_device::{Cause, Create, Mode};

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
    fn a_failure_without_a_number_keeps_its_reason() {
        let here = adit_device::broker::open_recording("/".as_ref()).unwrap_err();
        let failure = perform(Request::Play("/".into()), Vec::new()).unwrap_err();
        let failure: Failure = wire::decode(&wire::encode(&failure)).unwrap();
        let there = io::Error::from(failure);
        assert_eq!(there.to_string(), here.to_string());
        assert_eq!(there.to_string(), "it is not a regular file");
    }

    #[test]
    fn a_request_without_its_descriptors_is_refused() {
        for request in [Request::DeviceNamespace, Request::Mark(1), Request::Ingress(1)] {
            let failure = perform(request, Vec::new()).unwrap_err();
            assert_eq!(failure.errno, Some(libc::EINVAL));
        }
        let request = Request::Program(99, wire::encode(&Vec::<bpf::Instruction>::new()));
        assert_eq!(perform(request, Vec::new()).unwrap_err().errno, Some(libc::EINVAL));
    }
}
