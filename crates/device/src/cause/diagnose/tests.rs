//! What cannot be made for real on every machine; the rest is in `tests/errors.rs`.

use super::*;
use crate::Offload;

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[test]
fn limits_of_files_and_memory() {
    assert_eq!(open_node(&errno(libc::EMFILE)), Cause::FilesOfProcess);
    assert_eq!(open_node(&errno(libc::ENFILE)), Cause::FilesOfSystem);
    assert_eq!(open_node(&errno(libc::ENOMEM)), Cause::OutOfMemory);
    assert_eq!(setting(Setting::Persist, &errno(libc::EBADF)), Cause::NotOpen);
    assert_eq!(setting(Setting::Persist, &errno(libc::EXDEV)), Cause::Other);
}

#[test]
fn nodes_that_only_containers_have() {
    assert_eq!(open_node(&errno(libc::EPERM)), Cause::NodeForbidden);
    assert_eq!(open_node(&errno(libc::ENODEV)), Cause::DriverMissing);
}

#[test]
fn programs_of_other_types() {
    for what in [Setting::Steering, Setting::EbpfFilter] {
        assert_eq!(setting(what, &errno(libc::EINVAL)), Cause::EbpfProgram);
        assert_eq!(setting(what, &errno(libc::EPERM)), Cause::EbpfPermission);
    }
    assert_eq!(setting(Setting::VnetHdr, &errno(libc::EINVAL)), Cause::HeaderLength);
    assert_eq!(setting(Setting::IfIndex, &errno(libc::EPERM)), Cause::AlreadyAttached);
    let features = setting(Setting::Features(0x40), &errno(libc::EINVAL));
    assert_eq!(features, Cause::FlagsUnknown { flags: 0x40 });
}

#[test]
fn rules_of_offload_sets() {
    let refused = |set| setting(Setting::Offload(set), &errno(libc::EINVAL));
    let csum = Offload::CSUM;
    for set in [csum | Offload::USO4, csum | Offload::TSO4 | Offload::USO6] {
        assert_eq!(refused(set), Cause::OffloadUsoPair { set });
    }
    for set in [csum | Offload::UDP_TUNNEL_GSO, Offload::TSO | Offload::UDP_TUNNEL_GSO_CSUM] {
        assert_eq!(refused(set), Cause::OffloadTunnelAlone { set });
    }
    for set in [Offload::empty(), csum, Offload::TSO, Offload::USO, Offload::TUNNEL] {
        assert_eq!(refused(set), Cause::OffloadUnknown { set });
    }
}

#[test]
fn netlink_that_is_slow_or_busy() {
    assert_eq!(link(LinkSetting::Find, &errno(libc::ETIMEDOUT)), Cause::NetlinkTimeout);
    assert_eq!(link(LinkSetting::Find, &errno(libc::EINTR)), Cause::DumpInterrupted);
    assert_eq!(link(LinkSetting::Name, &errno(libc::EBUSY)), Cause::RenameWhileUp);
    assert_eq!(link(LinkSetting::Master, &errno(libc::EBUSY)), Cause::MasterBusy);
    assert_eq!(link(LinkSetting::Address, &errno(libc::EOPNOTSUPP)), Cause::Ipv6Missing);
    assert_eq!(link(LinkSetting::Mtu(9), &errno(libc::EINVAL)), Cause::MtuOutOfRange { mtu: 9 });
}

#[test]
fn limits_of_namespaces() {
    assert_eq!(netns(&errno(libc::ENOSPC)), Cause::NetnsLimit);
    assert_eq!(netns(&errno(libc::EACCES)), Cause::NetnsForbidden);
    let user = Cause::of_user_namespace;
    assert!(matches!(user(&errno(libc::ENOSPC)), Cause::UsernsLimit | Cause::UsernsOff));
    let forbidden = [Cause::UsernsForbidden, Cause::UsernsAppArmor, Cause::UsernsOff];
    assert!(forbidden.contains(&user(&errno(libc::EPERM))));
}

#[test]
fn queues_that_may_not_come_back() {
    let cause = Cause::of_attach;
    assert_eq!(cause(&errno(libc::EPERM)), Cause::QueueForbidden);
    assert_eq!(cause(&errno(libc::E2BIG)), Cause::QueuesExhausted { limit: 256 });
    assert_eq!(cause(&errno(libc::EBADFD)), Cause::DeviceGone { mode: None });
}
