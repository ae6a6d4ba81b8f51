//! The table of causes. Codes are stable: the code of a removed cause is never reused.
//!
//! E01xx the node, E02xx creating and attaching, E03xx settings, E04xx sending and receiving, E05xx
//! netlink and namespaces, E06xx descriptors, E09xx the rest.

use super::entry::{CauseEntry, Reported};
use super::names::{NAME_BYTE, NAME_DOTS, NAME_EMPTY, NAME_LONG, NAME_PERCENT, name_entry};
use super::table::causes;
use crate::holders::Holders;
use crate::{ErrorKind, IfIndex, IfName, Mode, NameError, Offload};

causes! {
    NodeMissing = "ADIT-E0101" NotFound,
        "/dev/net/tun does not exist, although the tun driver is loaded",
        "ENOENT. /proc/misc lists the driver; a container or chroot has its own /dev without node.",
        "Give the container the node with `--device /dev/net/tun`, or create it: `mkdir -p /dev/net \
         && mknod /dev/net/tun c 10 200 && chmod 0666 /dev/net/tun`.";
    ModuleMissing = "ADIT-E0102" Unsupported,
        "the tun driver is not loaded",
        "ENOENT, and /proc/misc does not list the driver: its module is not loaded, and there is no \
         device node whose opening would load it.",
        "Run `modprobe tun` as root on the host. After a kernel upgrade, reboot first.";
    DriverMissing = "ADIT-E0103" Unsupported,
        "no tun driver answers on /dev/net/tun",
        "ENODEV or ENXIO. The device node exists, but the kernel has no driver for it and could not \
         load one: it was built without CONFIG_TUN, or its modules are not installed.",
        "Run `modprobe tun` and read its message. A kernel without CONFIG_TUN must be replaced.";
    NodeMode {
        /// The permission bits of the node.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// Its group.
        group: u32,
        /// Our effective user.
        uid: u32,
    } = "ADIT-E0104" NotPermitted,
        "the file mode of /dev/net/tun does not allow this user to open it",
        "EACCES. udev and systemd-tmpfiles give the node mode 0666; without them it is 0600.",
        "Run `chmod 0666 /dev/net/tun` as root, or let udev set the mode. The mode alone gives \
         nobody control over the network.";
    NodeDirectory {
        /// The directory that cannot be searched.
        directory: String,
        /// Its permission bits.
        mode: u32,
    } = "ADIT-E0105" NotPermitted,
        "this user cannot search a directory on the path to /dev/net/tun",
        "EACCES. The node itself was not reached: /dev or /dev/net lacks the x bit for this user.",
        "Run `chmod 0755 /dev /dev/net` as root.";
    NodeForbidden = "ADIT-E0106" NotPermitted,
        "the device cgroup of this container does not allow /dev/net/tun",
        "EPERM. The device node exists, but the container's list of allowed devices lacks c 10:200. \
         No capability overrides that list.",
        "Start the container with `--device /dev/net/tun` and, to create devices, \
         `--cap-add=NET_ADMIN` (not CAP_NET_ADMIN).";
    NodeNodev = "ADIT-E0107" NotPermitted,
        "/dev/net/tun is on a file system mounted with nodev",
        "EACCES although the file mode allows it. Device nodes on a nodev mount cannot be opened.",
        "Bind the host's node over it with `mount --bind`, or start the container with `--device \
         /dev/net/tun`.";
    NodeSecurity = "ADIT-E0108" NotPermitted,
        "a security module does not allow this program to use /dev/net/tun",
        "EACCES although the file mode and the mount allow it: SELinux, AppArmor or another \
         security module denied the access.",
        "Look for the denial with `ausearch -m avc -ts recent` or `dmesg | grep -i apparmor`, then \
         allow the access in the policy.";
    NodeForeign = "ADIT-E0109" Mismatch,
        "/dev/net/tun is not the device node of the tun driver",
        "ENOTTY. The file was opened, but it does not support the driver's requests: it is a plain \
         file, or its device number is not c 10:200.",
        "Remove the file and create the node: `mknod /dev/net/tun c 10 200 && chmod 0666 \
         /dev/net/tun`.";

    NoCapability {
        /// Whether we are root in a user namespace that is not the network namespace's.
        user_namespace: bool,
    } = "ADIT-E0210" NotPermitted,
        "creating a device requires CAP_NET_ADMIN over the network namespace",
        "EPERM. The kernel checks for CAP_NET_ADMIN in the user namespace that owns the network \
         namespace. Root in a container often lacks it.",
        "Do one of these: run the program with sudo; run `setcap cap_net_admin+ep` on it; create a \
         device once with `sudo adit dev add NAME --mode tun --user $USER` and attach to it; use a \
         rootless namespace (`unshare -Urn`); start the container with `--cap-add=NET_ADMIN` (not \
         CAP_NET_ADMIN).";
    ForeignOwner {
        /// The user who may attach.
        owner: u32,
        /// Our effective user.
        uid: u32,
    } = "ADIT-E0211" NotPermitted,
        "the device belongs to another user",
        "EPERM. Only the owner of a persistent device and programs with CAP_NET_ADMIN may attach \
         to it.",
        "Run the program as the owner, or change the owner as root: `adit dev set NAME --user \
         $USER`.";
    ForeignGroup {
        /// The group that may attach.
        group: u32,
        /// Our effective user.
        uid: u32,
    } = "ADIT-E0212" NotPermitted,
        "the device belongs to a group that this process is not in",
        "EPERM. The kernel checks the effective group and the supplementary groups. A new \
         membership takes effect at the next login.",
        "Join the group (`usermod -aG GROUP $USER`) and log in again, or change the group as root: \
         `adit dev set NAME --group GROUP`.";
    OwnerAndGroup {
        /// The owner.
        owner: u32,
        /// The group.
        group: u32,
        /// Our effective user.
        uid: u32,
        /// Whether we are the owner.
        owner_matches: bool,
        /// Whether we are in the group.
        group_matches: bool,
    } = "ADIT-E0213" NotPermitted,
        "the device has an owner and a group, and both must match",
        "EPERM. If both are set, the kernel requires the user AND the group (tun_not_capable).",
        "Run the program as that user and in that group, or recreate the device with only one of \
         `--user` and `--group`: neither can be unset.";
    NapiFragsUserNamespace = "ADIT-E0214" NotPermitted,
        "IFF_NAPI_FRAGS requires CAP_NET_ADMIN in the initial user namespace",
        "EPERM. The flag lets a program build packets that no driver would build, so the kernel \
         never allows it in other user namespaces.",
        "Leave NAPI_FRAGS out, or run the program as root of the host, outside of user namespaces.";
    InUse {
        /// The processes that have it open.
        holders: Holders,
    } = "ADIT-E0215" Busy,
        "the device has a single queue, and a program has it open",
        "EBUSY. A device created without multi-queue can be open only once.",
        "Stop that program, choose another name (`tun%d`), or create the device with \
         `--multi-queue`.";
    Exists {
        /// What it is: `tun`, `tap`, `veth`, `bridge`, `loopback` ...
        kind: String,
        /// Its index.
        index: IfIndex,
    } = "ADIT-E0216" Exists,
        "an interface of that name exists",
        "EBUSY. A new device was requested (IFF_TUN_EXCL), and an interface has the name, as its \
         name or as an alternative name.",
        "Choose another name (`tun%d`), attach to the device instead of creating it, or delete it: \
         `adit dev del NAME`.";
    IndexTaken {
        /// The index that was requested.
        index: IfIndex,
        /// The interface that has it.
        name: IfName,
    } = "ADIT-E0217" Exists,
        "another interface has that index",
        "EBUSY. The index requested for a new device is in use in this network namespace.",
        "Let the kernel choose the index, or choose one that `ip link` does not list.";
    OtherKind {
        /// What it is: `veth`, `bridge`, `loopback` ...
        kind: String,
    } = "ADIT-E0218" Mismatch,
        "the interface of that name is not a TUN or TAP device",
        "EINVAL. The interface belongs to another driver, so no program can attach to it.",
        "Choose another name. `ip -d link show NAME` shows what the interface is.";
    ModeMismatch {
        /// The mode of the device.
        have: Mode,
        /// The mode that was requested.
        want: Mode,
    } = "ADIT-E0219" Mismatch,
        "the device has the other mode: TUN carries packets, TAP carries frames",
        "EINVAL. The mode of a device never changes.",
        "Request the mode that it has (`--mode tun` or `--mode tap`), choose another name, or delete \
         it: `adit dev del NAME`.";
    DeviceMultiQueue = "ADIT-E0220" Mismatch,
        "the device is multi-queue, and a single queue was requested",
        "EINVAL. Every attach must give IFF_MULTI_QUEUE as it was given when the device was created.",
        "Attach with `--multi-queue`.";
    DeviceSingleQueue = "ADIT-E0221" Mismatch,
        "the device has a single queue, and multi-queue was requested",
        "EINVAL. Every attach must give IFF_MULTI_QUEUE as it was given when the device was created.",
        "Attach with one queue, or delete the device and recreate it with `--multi-queue`.";
    QueuesExhausted {
        /// The maximum of a device.
        limit: u16,
    } = "ADIT-E0222" Limit,
        "the device already has 256 queues",
        "E2BIG. Detached queues count too (MAX_TAP_QUEUES).",
        "Close unused queues: each open descriptor is one.";
    NoSuchDevice {
        /// The mode that was requested, if one was.
        mode: Option<Mode>,
    } = "ADIT-E0223" NotFound,
        "no such device in this network namespace",
        "ENODEV. A name is valid in one network namespace only. A device that is not persistent \
         disappears with the program that created it.",
        "List the devices with `adit dev show`, look in other network namespaces, or create the \
         device: `adit dev add NAME --mode tun` (or `--mode tap`).";
    AlreadyAttached = "ADIT-E0224" Exists,
        "the descriptor already has a device",
        "EEXIST, or EPERM for its index. One open file of /dev/net/tun is one queue of one device.",
        "Open /dev/net/tun again for another device or queue.";
    NapiFragsOnTun = "ADIT-E0225" InvalidValue,
        "IFF_NAPI_FRAGS works on TAP devices only",
        "EINVAL. The flag builds Ethernet frames from fragments.",
        "Create a TAP device, or leave NAPI_FRAGS out.";
    NapiFragsWithoutNapi = "ADIT-E0226" InvalidValue,
        "IFF_NAPI_FRAGS requires IFF_NAPI",
        "EINVAL. NAPI delivers the fragments.",
        "Enable NAPI too.";
    NamesExhausted = "ADIT-E0227" Limit,
        "the name pattern has no free number left",
        "ENFILE. The kernel tries the numbers from 0 to 32767 for '%d'.",
        "Choose another pattern, or delete unused devices: `adit dev show` lists them.";
    FlagsUnknown {
        /// `IFF_*` that TUNGETFEATURES does not list.
        flags: u32,
    } = "ADIT-E0228" Unsupported,
        "the tun driver of this kernel lacks a requested feature",
        "The kernel silently ignores unknown flags, so adit checks first (TUNGETFEATURES).",
        "Leave the feature out, or use a newer kernel. `adit doctor` lists the available features.";
    NameRace = "ADIT-E0229" Busy,
        "another program created or deleted the device at the same time",
        "EBUSY or EINVAL, and the state that would explain it has changed since.",
        "Try again.";

    UserNotMapped {
        /// The user that was requested.
        id: u32,
    } = "ADIT-E0301" InvalidValue,
        "the user does not exist in this user namespace",
        "EINVAL, or the kernel stored another owner. Ids are those of the caller's user namespace \
         (/proc/self/uid_map); 4294967295 means nobody.",
        "Map the user (`unshare --map-users`, /etc/subuid), or set the owner from outside of the \
         namespace.";
    GroupNotMapped {
        /// The group that was requested.
        id: u32,
    } = "ADIT-E0302" InvalidValue,
        "the group does not exist in this user namespace",
        "EINVAL, or the kernel stored another group. Ids are those of the caller's user namespace \
         (/proc/self/gid_map); 4294967295 means nobody.",
        "Map the group (`unshare --map-groups`, /etc/subgid), or set the group from outside of the \
         namespace.";
    LinkTypeWhileUp = "ADIT-E0303" Busy,
        "the link type cannot change while the link is up",
        "EBUSY from TUNSETLINK.",
        "Set the link down first: `adit dev set NAME --down`.";
    OffloadUnknown {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0304" Unsupported,
        "this kernel does not support that set of offloads",
        "EINVAL although the set is valid: USO requires Linux 6.2, UDP tunnel GSO Linux 6.17.",
        "Let adit choose the offloads (`OffloadChoice::Auto` in the library), or use a newer kernel.";
    OffloadNeedsChecksum {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0305" InvalidValue,
        "every offload requires the checksum offload",
        "EINVAL. The checksum of a super-packet is completed only when it is segmented.",
        "Add csum to the set.";
    OffloadUsoPair {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0306" InvalidValue,
        "the offloads uso4 and uso6 require each other",
        "EINVAL. The kernel has one switch for UDP super-packets of both address families.",
        "Request both or neither.";
    OffloadTunnelAlone {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0307" InvalidValue,
        "udp_tunnel_gso requires tso or uso, and udp_tunnel_gso_csum requires udp_tunnel_gso",
        "EINVAL. These offloads describe the encapsulation of super-packets.",
        "Add tso4 and tso6 to the set, and udp_tunnel_gso to udp_tunnel_gso_csum.";
    OffloadNeedsHeader {
        /// The set that was requested.
        set: Offload,
    } = "ADIT-E0308" InvalidValue,
        "offloads require a virtio-net header before each packet",
        "adit checks this. The kernel would accept the set and deliver super-packets and partial \
         checksums without a description of them.",
        "Open the device with a virtio-net header (`--vnet-hdr`), or request no offloads.";
    OffloadNeedsTunnelHeader {
        /// The set that was requested.
        set: Offload,
    } = "ADIT-E0309" InvalidValue,
        "UDP tunnel offload requires a virtio-net header of 24 bytes",
        "adit checks this. With a shorter header the kernel drops each such packet with EFAULT on \
         reading.",
        "Open the device with the 24-byte header, or leave udp_tunnel_gso out.";
    HeaderLength = "ADIT-E0310" Unsupported,
        "the kernel did not accept the length of the virtio-net header",
        "EINVAL from TUNSETVNETHDRSZ, or the kernel reports another length afterwards.",
        "Use the header of 10 or 12 bytes, which every kernel supports.";
    EndianUnsupported = "ADIT-E0311" Unsupported,
        "this kernel cannot change the byte order of the virtio-net header",
        "EINVAL. A byte order other than the machine's own requires CONFIG_TUN_VNET_CROSS_LE.",
        "Use little endian on little-endian machines.";
    SendBufferEmpty = "ADIT-E0312" InvalidValue,
        "the send buffer cannot have 0 bytes",
        "EINVAL from TUNSETSNDBUF: nothing could ever be sent.",
        "Give it room for at least one packet, or remove the limit.";
    TxFilterOnTun = "ADIT-E0313" Unsupported,
        "an address filter works on TAP devices only",
        "EINVAL from TUNSETTXFILTER: the packets of a TUN device have no hardware address.",
        "Use a TAP device, or an eBPF filter.";
    TxFilterFull {
        /// How many addresses were requested.
        len: usize,
    } = "ADIT-E0314" Limit,
        "the address filter holds at most 8 unicast addresses and 256 in total",
        "adit checks this. With a ninth unicast address the kernel would silently pass everything.",
        "Give fewer addresses, or filter with eBPF.";
    FilterRefused = "ADIT-E0315" InvalidValue,
        "the kernel rejected the packet filter",
        "EINVAL. The device is TUN (classic filters work on TAP only), or the program is invalid: \
         empty, longer than 4096 instructions, with a jump out of it, or without a return at its \
         end.",
        "Use a TAP device, and check the program with `tcpdump -d`.";
    EbpfProgram = "ADIT-E0316" InvalidValue,
        "the descriptor is not an eBPF program of type socket filter",
        "EINVAL or EBADF. Steering and filtering require BPF_PROG_TYPE_SOCKET_FILTER.",
        "Load the program as a socket filter.";
    EbpfPermission = "ADIT-E0317" NotPermitted,
        "loading eBPF requires CAP_BPF in the initial user namespace",
        "EPERM. kernel.unprivileged_bpf_disabled keeps all other programs out.",
        "Run the program as root of the host, or leave steering to the kernel.";
    VnetHashUnsupported = "ADIT-E0318" Unsupported,
        "this kernel does not report flow hashes in the virtio-net header",
        "EINVAL from TUNSETVNETHASH. No released kernel supports it yet.",
        "Let adit steer with eBPF instead.";
    QueueState = "ADIT-E0319" Mismatch,
        "the queue is already in that state, or the device has a single queue",
        "EINVAL from TUNSETQUEUE: attached twice, detached twice, or not a multi-queue device.",
        "Create the device with `--multi-queue`, and check `is_detached` first.";
    DeviceNetnsForbidden = "ADIT-E0320" NotPermitted,
        "finding the device's network namespace requires CAP_NET_ADMIN there",
        "EPERM from TUNGETDEVNETNS.",
        "Run the program as root, or inside of that namespace.";
    MacInvalid = "ADIT-E0321" InvalidValue,
        "the hardware address is a group address or all zero",
        "EADDRNOTAVAIL. In a device's own address the lowest bit of the first byte is 0.",
        "Choose a local unicast address, such as 02:00:00:00:00:01.";
    MacOnTun = "ADIT-E0322" Unsupported,
        "the device has no hardware address to set",
        "EOPNOTSUPP or EINVAL. TUN devices work above the link layer.",
        "Use a TAP device (`--mode tap`), or leave the address out.";
    MtuTooSmall {
        /// The MTU that was requested.
        mtu: u32,
        /// The minimum of the device.
        min: u32,
    } = "ADIT-E0323" InvalidValue,
        "the MTU is below the device's minimum",
        "EINVAL. TUN and TAP devices accept 68 and more; IPv6 requires 1280.",
        "Choose an MTU of 1280 or more.";
    MtuTooLarge {
        /// The MTU that was requested.
        mtu: u32,
        /// The maximum of the device.
        max: u32,
    } = "ADIT-E0324" InvalidValue,
        "the MTU is above the device's maximum",
        "EINVAL. TUN accepts up to 65535, TAP up to 65521 (the frame's header counts). Other \
         devices have the limit of their driver.",
        "Choose a smaller MTU. For bulk transfer, offloads help more than a large MTU.";
    MtuOutOfRange {
        /// The MTU that was requested.
        mtu: u32,
    } = "ADIT-E0325" InvalidValue,
        "the device does not accept that MTU",
        "EINVAL, and the device does not report its limits.",
        "Choose an MTU from 1280 to 1500.";
    TxQueueLenTooLong {
        /// The length that was requested.
        packets: u32,
        /// The maximum of a TUN or TAP device.
        limit: u32,
    } = "ADIT-E0326" InvalidValue,
        "the queue length is above the driver's maximum",
        "EPERM, which has nothing to do with permissions here: the driver cannot allocate a ring \
         of that size.",
        "Choose 524288 packets or fewer; 500 to 5000 are usual.";
    AliasTooLong = "ADIT-E0327" InvalidValue,
        "the description is longer than 255 bytes",
        "EINVAL or ERANGE (IFALIASZ).",
        "Shorten it.";
    NameTaken = "ADIT-E0328" Exists,
        "another interface has that name",
        "EEXIST. Alternative names count too.",
        "Choose another name. `ip link` lists the names in use.";
    RenameWhileUp = "ADIT-E0329" Busy,
        "this kernel renames an interface only while it is down",
        "EBUSY. Kernels before 6.2 do not rename an interface that is up.",
        "Set it down first: `adit dev set NAME --down`.";
    NoSuchMaster = "ADIT-E0330" NotFound,
        "no such bridge",
        "ENODEV, and the device itself exists.",
        "Create the bridge first: `ip link add name BRIDGE type bridge && ip link set BRIDGE up`.";
    MasterNotBridge = "ADIT-E0331" Mismatch,
        "the requested master does not take ports",
        "EOPNOTSUPP. Only bridges, bonds, teams and VRFs have ports.",
        "Name a bridge: `ip link show type bridge` lists them.";
    MasterLoop = "ADIT-E0332" InvalidValue,
        "the device would become a port of itself, or a bridge a port of a bridge",
        "ELOOP.",
        "Choose another bridge. To join two bridges, use a veth pair.";
    MasterNeedsTap = "ADIT-E0333" Mismatch,
        "a bridge accepts Ethernet devices only",
        "EINVAL. TUN devices carry packets without frames.",
        "Create a TAP device (`--mode tap`) for the bridge, or route to the TUN device.";
    MasterBusy = "ADIT-E0334" Busy,
        "the device is already a port of another master",
        "EBUSY.",
        "Remove it from its master first: `ip link set NAME nomaster`.";
    CannotDelete = "ADIT-E0335" Unsupported,
        "the interface cannot be deleted",
        "EOPNOTSUPP. Hardware, `lo` and some devices of other drivers cannot be deleted.",
        "Set it down instead: `adit dev set NAME --down`.";
    NameTakenThere = "ADIT-E0336" Exists,
        "an interface of that name exists in the other network namespace",
        "EEXIST.",
        "Rename one of them first: `adit dev set NAME --name OTHER`.";
    CannotMove = "ADIT-E0337" Unsupported,
        "the interface cannot leave its network namespace",
        "EINVAL. `lo`, the fallback devices of tunnels and some others are bound to theirs.",
        "Create the device in the other namespace instead: `adit -n OTHER dev add NAME --mode tun`.";
    CarrierUnsupported = "ADIT-E0338" Unsupported,
        "the carrier of the device cannot be set",
        "EOPNOTSUPP, or EINVAL while the link is down.",
        "Set the link up first. TUN and TAP devices support it; others may not.";
    QueueForbidden = "ADIT-E0339" NotPermitted,
        "attaching a queue again requires the right to attach to the device",
        "EPERM from TUNSETQUEUE: the device's owner changed, or this process dropped privileges.",
        "Keep the queue attached, or run the program as the owner.";

    LinkDown = "ADIT-E0401" LinkDown,
        "the link is down",
        "EIO on sending: the packet is lost, the device still exists. Receiving continues: it \
         returns the queued packets, then waits.",
        "Set it up: `adit dev set NAME --up`.";
    DeviceGone {
        /// The mode of the device, if it is known.
        mode: Option<Mode>,
    } = "ADIT-E0402" DeviceGone,
        "the device was deleted",
        "EBADFD; EFAULT for a blocked read; ENODEV from netlink; EPOLLERR from epoll, permanently. \
         A program deleted the device, or its network namespace ended.",
        "Exit, or recreate the device: `adit dev add NAME --mode tun` (or `--mode tap`). `adit dev \
         watch` shows devices appear and disappear.";
    WouldBlock = "ADIT-E0403" WouldBlock,
        "no packet to receive, or no room to send",
        "EAGAIN of a nonblocking queue. Sending fails like this only with a send buffer limit.",
        "Wait with poll or epoll, or open the device in blocking mode.";
    PacketEmpty = "ADIT-E0404" Malformed,
        "the packet is empty",
        "EINVAL. A write of 0 bytes is not a packet.",
        "Do not send empty packets.";
    NotIp {
        /// The first four bits of the packet.
        version: u8,
    } = "ADIT-E0405" Malformed,
        "the packet is neither IPv4 nor IPv6",
        "EINVAL. A TUN device without packet information finds the protocol in the first four \
         bits. It does not carry Ethernet frames.",
        "Send IP packets. For Ethernet frames, create a TAP device (`--mode tap`).";
    FrameShort {
        /// Its length without headers of the queue.
        len: usize,
    } = "ADIT-E0406" Malformed,
        "the frame is shorter than an Ethernet header",
        "EINVAL. A frame has at least 14 bytes.",
        "Send whole frames. For bare IP packets, create a TUN device (`--mode tun`).";
    HeadersShort {
        /// The number of bytes sent.
        len: usize,
        /// The length of the queue's headers in bytes.
        headers: usize,
    } = "ADIT-E0407" Malformed,
        "the record is shorter than the queue's headers",
        "EINVAL. Packet information has 4 bytes, the virtio-net header 10 to 24.",
        "Put the headers of the queue's layout before each packet.";
    VnetHeaderRefused = "ADIT-E0408" Malformed,
        "the virtio-net header does not match its packet",
        "EINVAL. A checksum or segment lies beyond the packet, the segment size is 0, the GSO type \
         is not that of the packet, or there are more than 128 UDP segments. Linux 6.1.103 and \
         6.6.44 reject valid super-packets too.",
        "Segment the packet, and send the segments without offload.";
    PacketTooLong {
        /// Its length without headers of the queue.
        len: usize,
        /// The maximum that is sent.
        max: usize,
    } = "ADIT-E0409" Malformed,
        "the packet exceeds the maximum length",
        "EMSGSIZE from adit: the kernel would accept the packet and silently drop it later.",
        "Send packets of up to 65535 bytes. Only super-packets may exceed the MTU.";
    QueueDetached = "ADIT-E0410" Busy,
        "the queue is detached, and with NAPI a detached queue cannot send",
        "EBUSY.",
        "Attach the queue first, or leave NAPI out.";
    BufferShort {
        /// The length of the buffer.
        len: usize,
        /// The length of the queue's headers in bytes.
        headers: usize,
    } = "ADIT-E0411" InvalidValue,
        "the buffer is shorter than the queue's headers, and the packet is lost",
        "EINVAL on receiving.",
        "Receive into a buffer of 69632 bytes (RECORD_LEN_MAX), which holds any packet.";
    TunnelHeaderShort = "ADIT-E0412" Mismatch,
        "the packet requires a virtio-net header of 24 bytes, and is lost",
        "EFAULT on receiving while the device exists: UDP tunnel offload is on, and the header is \
         too short.",
        "Open the device with the 24-byte header, or turn udp_tunnel_gso off.";
    Interrupted = "ADIT-E0413" WouldBlock,
        "a signal interrupted the wait",
        "EINTR.",
        "Try again.";
    NoBuffer = "ADIT-E0414" Limit,
        "the pool has no free buffer",
        "ENOBUFS from adit: all buffers are in use.",
        "Give buffers back to the pool, or configure a larger one.";

    NetlinkForbidden {
        /// Whether we are root in a user namespace that is not the network namespace's.
        user_namespace: bool,
    } = "ADIT-E0501" NotPermitted,
        "changing interfaces requires CAP_NET_ADMIN over the network namespace",
        "EPERM. The owner of a TUN device may attach to it, but not set it up or give it addresses.",
        "Run the program with sudo, run `setcap cap_net_admin+ep` on it, run it in a rootless \
         namespace (`unshare -Urn`), or start the container with `--cap-add=NET_ADMIN`.";
    NetlinkTimeout = "ADIT-E0502" Other,
        "the kernel did not answer the netlink request in time",
        "ETIMEDOUT from adit: another program holds the kernel's lock of the network configuration.",
        "Try again. `dmesg` reports hung tasks.";
    DumpInterrupted = "ADIT-E0503" Other,
        "the list of interfaces kept changing while it was read",
        "EINTR from adit: at every attempt the kernel reported a change during the dump.",
        "Try again when fewer interfaces come and go.";
    Refused {
        /// The kernel's own words.
        words: String,
    } = "ADIT-E0504" InvalidValue,
        "the kernel gave its own reason",
        "The text comes from the kernel (an extended acknowledgement of netlink).",
        "Change the value that the kernel's text names.";
    AddressExists = "ADIT-E0510" Exists,
        "the device already has that address",
        "EEXIST.",
        "Keep it, or replace it: `ip address replace ADDRESS dev NAME`.";
    AddressMissing = "ADIT-E0511" NotFound,
        "the device does not have that address",
        "EADDRNOTAVAIL. Address and prefix length must both match.",
        "List its addresses: `ip address show dev NAME`.";
    Ipv6Disabled = "ADIT-E0512" Unsupported,
        "IPv6 is disabled on this device",
        "EACCES. net.ipv6.conf.NAME.disable_ipv6 is 1, which is common in containers.",
        "Enable it: `sysctl net.ipv6.conf.NAME.disable_ipv6=0`. For a container: `--sysctl \
         net.ipv6.conf.all.disable_ipv6=0`.";
    Ipv6Missing = "ADIT-E0513" Unsupported,
        "this kernel does not support IPv6",
        "EOPNOTSUPP or EAFNOSUPPORT. It was built without IPv6 or booted with ipv6.disable=1.",
        "Leave IPv6 addresses out, or boot the kernel without ipv6.disable=1.";
    MtuBelowIpv6 {
        /// The MTU of the device.
        mtu: u32,
    } = "ADIT-E0514" InvalidValue,
        "the MTU is below the 1280 bytes that IPv6 requires",
        "EINVAL. The kernel removes IPv6 from a device with a smaller MTU.",
        "Raise it first: `adit dev set NAME --mtu 1280`.";
    RouteExists = "ADIT-E0520" Exists,
        "a route to that network with that metric exists",
        "EEXIST.",
        "Choose another metric, or replace the route: `ip route replace ...`.";
    GatewayUnreachable = "ADIT-E0521" InvalidValue,
        "the gateway is not on a network of this device",
        "ENETUNREACH, EHOSTUNREACH or EINVAL. A gateway must be reachable without another gateway.",
        "First give the device an address in the gateway's network, leave the gateway out (a TUN \
         device needs none), or use `onlink`.";
    RouteLinkDown = "ADIT-E0522" LinkDown,
        "a route requires the link to be up",
        "ENETDOWN.",
        "Set it up first: `adit dev set NAME --up`.";
    RouteMissing = "ADIT-E0523" NotFound,
        "no such route",
        "ESRCH. Network, table, metric and device must match.",
        "List the routes: `ip route show table all dev NAME`.";
    RouteSource = "ADIT-E0524" InvalidValue,
        "the preferred source address is not an address of this host",
        "EINVAL.",
        "Add the address first: `adit dev set NAME --add-addr ADDRESS`.";
    RouteHostBits = "ADIT-E0525" InvalidValue,
        "the network of the route has bits set beyond its prefix",
        "EINVAL: 192.0.2.1/24 is an address in a network, 192.0.2.0/24 is the network.",
        "Clear the bits beyond the prefix.";
    NetnsMissing {
        /// The existing names.
        existing: Vec<String>,
    } = "ADIT-E0540" NotFound,
        "no network namespace of that name",
        "ENOENT. Names are files in /run/netns, created by `ip netns add`. The namespaces of \
         containers have no name; open them by process: /proc/PID/ns/net.",
        "Create it with `ip netns add NAME`. `ip netns list` lists the existing ones.";
    NotNetns = "ADIT-E0541" Mismatch,
        "the file is not a network namespace",
        "EINVAL. It is a plain file (left in /run/netns after its mount was lost) or a namespace of \
         another type.",
        "Use a file such as /run/netns/NAME or /proc/PID/ns/net. Delete a stale name with `ip netns \
         del NAME`.";
    NetnsForbidden = "ADIT-E0542" NotPermitted,
        "creating or entering a network namespace requires CAP_SYS_ADMIN",
        "EPERM or EACCES. The capability must hold in the current user namespace and in the one \
         that owns the network namespace.",
        "Run the program with sudo, or everything in a rootless namespace: `unshare -Urn`.";
    NetnsLimit = "ADIT-E0543" Limit,
        "the limit on network namespaces is reached",
        "ENOSPC.",
        "Raise it: `sysctl user.max_net_namespaces=100000`. `lsns -t net` lists them.";
    NetnsProcess = "ADIT-E0544" NotFound,
        "no such process, or /proc is not mounted",
        "ENOENT or ESRCH for /proc/PID/ns/net.",
        "Find the process with `lsns -t net`. Mount /proc if it is missing.";
    NetnsName = "ADIT-E0545" InvalidName,
        "the name is not valid for a network namespace",
        "It becomes a file name in /run/netns: not empty, without '/', not '.' or '..'.",
        "Choose another name, or give the full path of the file.";
    UsernsOff = "ADIT-E0550" Unsupported,
        "user namespaces are disabled on this machine",
        "ENOSPC or EPERM, and user.max_user_namespaces or kernel.unprivileged_userns_clone is 0.",
        "Enable them as root: `sysctl user.max_user_namespaces=10000`. On older Debian kernels: \
         `sysctl kernel.unprivileged_userns_clone=1`.";
    UsernsAppArmor = "ADIT-E0551" NotPermitted,
        "AppArmor does not allow user namespaces to programs without a profile",
        "EPERM or EACCES, and kernel.apparmor_restrict_unprivileged_userns is 1, the default of \
         Ubuntu since 24.04.",
        "Write a profile with `userns,` for the program, or run as root `sysctl \
         kernel.apparmor_restrict_unprivileged_userns=0`.";
    UsernsLimit = "ADIT-E0552" Limit,
        "the limit on user namespaces is reached",
        "ENOSPC although user.max_user_namespaces is not 0: that many exist, or 32 are nested.",
        "Raise it: `sysctl user.max_user_namespaces=100000`. `lsns -t user` lists them.";
    UsernsThreads = "ADIT-E0553" InvalidValue,
        "a process with several threads cannot enter a new user namespace",
        "EINVAL from unshare(2).",
        "Enter it before the first thread starts, or start the program under `unshare -Urn`.";
    UsernsForbidden = "ADIT-E0554" NotPermitted,
        "this process may not create a user namespace",
        "EPERM without a visible reason: a chroot, a container's seccomp filter, or unmapped ids.",
        "Start the container with `--security-opt seccomp=unconfined` or with a profile that allows \
         unshare. Leave the chroot.";

    FilesOfProcess = "ADIT-E0601" Limit,
        "this process has reached its limit of open files",
        "EMFILE. Each queue is a descriptor.",
        "Raise the limit: `ulimit -n 65536`, or LimitNOFILE= in the systemd unit.";
    FilesOfSystem = "ADIT-E0602" Limit,
        "the machine has reached its limit of open files",
        "ENFILE from open(2).",
        "Raise it: `sysctl fs.file-max=1000000`. Find the program that leaks descriptors: `lsof`.";
    NotTun {
        /// The file, as /proc/self/fd shows it; empty if unknown.
        file: String,
    } = "ADIT-E0603" Mismatch,
        "the descriptor does not belong to /dev/net/tun",
        "ENOTTY or EINVAL. It is a socket, a pipe or another file: check the number passed.",
        "Pass the descriptor of /dev/net/tun: `ls -l /proc/PID/fd` lists the descriptors.";
    NotOpen = "ADIT-E0604" NotFound,
        "the descriptor is not open",
        "EBADF. No program passed it, or exec closed it (O_CLOEXEC).",
        "Clear FD_CLOEXEC of the descriptor in the parent process, and pass its number.";
    Unattached = "ADIT-E0605" NotFound,
        "the descriptor of /dev/net/tun has no device",
        "EBADFD. TUNSETIFF was never called on it, or its device was deleted.",
        "Call TUNSETIFF in the program that opened it, or pass a name to create a device.";
    FdMode {
        /// The mode of the device.
        have: Mode,
        /// The mode that was requested.
        want: Mode,
    } = "ADIT-E0606" Mismatch,
        "the device of the descriptor has the other mode",
        "The descriptor is valid, but TUN was requested of a TAP device, or TAP of a TUN device.",
        "Request the mode that it has (`--mode tun` or `--mode tap`), or pass another descriptor.";
    NoFdPassed = "ADIT-E0607" NotFound,
        "no descriptor came with the message",
        "The message came without SCM_RIGHTS, or LISTEN_FDS is not set for this process.",
        "Check that the sender attaches the descriptor, and the order of the messages.";

    OutOfMemory = "ADIT-E0901" Limit,
        "the kernel is out of memory for the request",
        "ENOMEM or ENOBUFS.",
        "Free memory, or raise the memory limit of the cgroup.";
    Other = "ADIT-E0999" Other,
        "the kernel rejected the request",
        "adit knows no cause for this errno here.",
        "Look at `dmesg`, and report the complete error text: it should have a cause.";
}
