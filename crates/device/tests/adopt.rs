//! Descriptors from elsewhere: adopted, refused, passed over a socket, inherited.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod support;

use adit_device::{Cause, Device, DeviceOptions, Mode, Netns, VnetFormat, VnetLen};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

fn tap(name: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tap).name(name.parse().unwrap())
}

fn descriptor(options: DeviceOptions) -> OwnedFd {
    options.open().unwrap().into_queues().remove(0).into()
}

#[test]
fn an_adopted_device_reports_its_settings() {
    support::enter();
    let format = VnetFormat { len: VnetLen::Mergeable, ..VnetFormat::default() };
    let fd = descriptor(tap("t0").packet_info(true).vnet_hdr(format).nonblocking(true));
    let device = Device::adopt(fd, Mode::Tap).unwrap();
    assert_eq!(device.layout().vnet_hdr.unwrap().len, VnetLen::Mergeable);
    assert!(device.layout().packet_info, "IFF_NO_PI of TUNGETIFF is not to be believed");
    assert_eq!(device.name().unwrap().to_string(), "t0");
    device.set_mtu(1300).unwrap();
}

#[test]
fn a_descriptor_of_another_kind_is_refused() {
    support::enter();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let node = std::fs::File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    let cause = |fd, mode| Device::adopt(fd, mode).unwrap_err().cause().clone();
    assert_eq!(cause(file, Mode::Tun), Cause::NotTun { file: "/dev/null".into() });
    assert_eq!(cause(node.into(), Mode::Tun), Cause::Unattached);
    let tap = descriptor(tap("t0"));
    assert!(matches!(cause(tap, Mode::Tun), Cause::FdMode { .. }));
}

#[test]
fn a_device_in_another_namespace_is_found_there() {
    support::enter();
    let there = Netns::new_anonymous().unwrap();
    let fd = descriptor(tap("t0").netns(there.try_clone().unwrap()));
    let device = Device::adopt(fd, Mode::Tap).unwrap();
    assert!(device.netns().unwrap().is_same(&there).unwrap());
    device.set_up(true).unwrap();
}

#[test]
fn a_queue_crosses_a_socket() {
    support::enter();
    let (here, there) = UnixStream::pair().unwrap();
    let mut device = tap("t0").open().unwrap();
    device.take_queues()[0].pass_to(&here).unwrap();
    drop(device);
    let device = Device::receive(&there, Mode::Tap).unwrap();
    assert_eq!(device.name().unwrap().to_string(), "t0");

    let (plain, other) = UnixDatagram::pair().unwrap();
    plain.send(b"no descriptor").unwrap();
    assert_eq!(Device::receive(&other, Mode::Tap).unwrap_err().cause(), &Cause::NoFdPassed);
    drop(here);
    assert_eq!(Device::receive(&there, Mode::Tap).unwrap_err().cause(), &Cause::NoFdPassed);
}

/// The second half of the next test, in a process of its own, as systemd would start it.
#[test]
#[ignore = "run by systemd_passes_a_device"]
fn started_by_systemd() {
    let device = Device::from_systemd(Some("tap"), Mode::Tap).unwrap();
    assert_eq!(device.name().unwrap().to_string(), "t0");
    let again = Device::from_systemd(Some("tap"), Mode::Tap).unwrap_err();
    assert_eq!(again.cause(), &Cause::NoFdPassed, "a descriptor has one owner");
    let null = || Device::from_systemd(Some("other"), Mode::Tap).unwrap_err();
    assert_eq!(null().cause(), &Cause::NotTun { file: String::new() });
    assert_eq!(null().cause(), &Cause::NotTun { file: String::new() }, "it was not closed");
}

#[test]
fn systemd_passes_a_device() {
    support::enter();
    assert_eq!(
        Device::from_systemd(None, Mode::Tap).unwrap_err().cause(),
        &Cause::NoFdPassed,
        "no descriptor was passed to this process"
    );
    let queue = descriptor(tap("t0"));
    // The shell does what systemd does: descriptor 4 is ours, LISTEN_PID the program's own.
    let program = std::env::current_exe().unwrap();
    let line = "exec 3</dev/null 4<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"";
    let output = Command::new("bash")
        .args(["-c", line, "bash"])
        .arg(program)
        .args(["--exact", "started_by_systemd", "--ignored"])
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "other:tap")
        .stdin(queue)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
