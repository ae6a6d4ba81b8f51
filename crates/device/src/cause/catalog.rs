//! The table of causes. Codes are stable: one that is no longer used is not given out again.
//!
//! E01xx the node, E02xx making and attaching, E03xx settings, E04xx at run time, E05xx netlink
//! and namespaces, E06xx descriptors, E09xx the rest.

use super::CauseEntry;
use super::names::{NAME_BYTE, NAME_DOTS, NAME_EMPTY, NAME_LONG, NAME_PERCENT, name_entry};
use super::table::causes;
use crate::holders::Holders;
use crate::{ErrorKind, IfIndex, IfName, Mode, NameError, Offload};

causes! {
    NodeMissing = "ADIT-E0101" NotFound,
        "/dev/net/tun does not exist, although the kernel has the driver",
        "ENOENT. /proc/misc lists the driver, so only the node is missing: a container or a chroot \
         with a /dev of its own.",
        "give the container the node with `--device /dev/net/tun`, or make it: `mkdir -p /dev/net \
         && mknod /dev/net/tun c 10 200 && chmod 0666 /dev/net/tun`";
    ModuleMissing = "ADIT-E0102" Unsupported,
        "the kernel has not loaded the tun driver",
        "ENOENT, and /proc/misc does not list the driver: its module is not loaded, and no node \
         is there that would load it.",
        "load it with `modprobe tun` as root on the host (after a kernel upgrade: reboot first)";
    DriverMissing = "ADIT-E0103" Unsupported,
        "the kernel has no tun driver behind /dev/net/tun",
        "ENODEV or ENXIO. The node is there, but no driver answers, and the kernel could not load \
         one: it was built without CONFIG_TUN, or its modules are not installed.",
        "run `modprobe tun` and read what it says; a kernel without CONFIG_TUN has to be replaced";
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
        "the mode of /dev/net/tun keeps this user out",
        "EACCES. udev or systemd-tmpfiles make the node 0666; without them it is 0600.",
        "run `chmod 0666 /dev/net/tun` as root (it gives no power over the network by itself), or \
         let udev do so";
    NodeDirectory {
        /// The directory that may not be searched.
        directory: String,
        /// Its permission bits.
        mode: u32,
    } = "ADIT-E0105" NotPermitted,
        "a directory on the way to /dev/net/tun keeps this user out",
        "EACCES. The node itself was not reached: /dev or /dev/net lacks the x bit for this user.",
        "run `chmod 0755 /dev /dev/net` as root";
    NodeForbidden = "ADIT-E0106" NotPermitted,
        "the device cgroup of this container does not allow /dev/net/tun",
        "EPERM. The node is there, but the container's list of allowed devices lacks c 10:200; no \
         capability helps against that.",
        "start the container with `--device /dev/net/tun` (and `--cap-add=NET_ADMIN`, not \
         CAP_NET_ADMIN)";
    NodeNodev = "ADIT-E0107" NotPermitted,
        "/dev/net/tun is on a file system that is mounted nodev",
        "EACCES although the mode allows it: device nodes on a nodev mount cannot be opened.",
        "bind the host's node over it: `mount --bind` or the container's `--device /dev/net/tun`";
    NodeSecurity = "ADIT-E0108" NotPermitted,
        "a security module keeps this program from /dev/net/tun",
        "EACCES although the file mode allows it and the mount too: SELinux, AppArmor or another \
         security module refused.",
        "look for the refusal with `ausearch -m avc -ts recent` or `dmesg | grep -i apparmor`, \
         and allow it there";
    NodeForeign = "ADIT-E0109" Mismatch,
        "/dev/net/tun is not the node of the tun driver",
        "ENOTTY. The file was opened, but does not know the driver's requests: it is a plain file \
         or has other numbers than c 10:200.",
        "remove the file and make the node: `mknod /dev/net/tun c 10 200 && chmod 0666 \
         /dev/net/tun`";

    NoCapability {
        /// Whether we are root in a user namespace that is not the network namespace's.
        user_namespace: bool,
    } = "ADIT-E0210" NotPermitted,
        "making a device needs CAP_NET_ADMIN over the network namespace",
        "EPERM. The kernel makes devices only for who has CAP_NET_ADMIN in the user namespace that \
         owns the network namespace; root in a container often has not.",
        "one of: run it with sudo; `setcap cap_net_admin+ep` on the program; once `sudo adit dev \
         add NAME --mode tun --user $USER` and attach to that; a rootless namespace (`unshare \
         -Urn`); in a container `--cap-add=NET_ADMIN` (not CAP_NET_ADMIN)";
    ForeignOwner {
        /// Who may attach.
        owner: u32,
        /// Our effective user.
        uid: u32,
    } = "ADIT-E0211" NotPermitted,
        "the device belongs to another user",
        "EPERM. A persistent device with an owner may be attached to by that user and by whoever \
         has CAP_NET_ADMIN.",
        "run it as the owner, or change the owner as root: `adit dev set NAME --user $USER`";
    ForeignGroup {
        /// Who may attach.
        group: u32,
        /// Our effective user.
        uid: u32,
    } = "ADIT-E0212" NotPermitted,
        "the device belongs to a group that this process is not in",
        "EPERM. The effective group and the supplementary groups count; a new membership holds \
         from the next login on.",
        "join the group (`usermod -aG GROUP $USER`, then log in again), or change it as root: \
         `adit dev set NAME --group GROUP`";
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
        "EPERM. With both set the kernel asks for the user AND the group (tun_not_capable).",
        "be both, or make the device anew with only one of `--user` and `--group`: neither can be \
         unset";
    NapiFragsUserNamespace = "ADIT-E0214" NotPermitted,
        "IFF_NAPI_FRAGS needs CAP_NET_ADMIN in the first user namespace",
        "EPERM. It lets a program put together packets that no driver would; the kernel keeps it \
         from user namespaces altogether.",
        "leave NAPI_FRAGS out, or run it as root of the host and not in a user namespace";
    Held {
        /// Who has it open.
        holders: Holders,
    } = "ADIT-E0215" Busy,
        "the device has one queue, and a program has it open",
        "EBUSY. A device that was made without multi-queue can be open once.",
        "end that program, choose another name (`tun%d`), or make the device with `--multi-queue`";
    Exists {
        /// What it is: `tun`, `tap`, `veth`, `bridge`, `loopback` ...
        kind: String,
        /// Its index.
        index: IfIndex,
    } = "ADIT-E0216" Exists,
        "there is an interface of that name already",
        "EBUSY. A new device was asked for (IFF_TUN_EXCL), and the name is taken, be it as the \
         name or as an alternative name.",
        "choose another name (`tun%d`), attach to it (`Create::Attach`), or delete it: `adit dev del \
         NAME`";
    IndexTaken {
        /// The index that was asked for.
        index: IfIndex,
        /// Who has it.
        name: IfName,
    } = "ADIT-E0217" Exists,
        "another interface has that index",
        "EBUSY. The index that a new device was to have is taken in this network namespace.",
        "leave the index to the kernel, or choose one that `ip link` does not show";
    OtherKind {
        /// What it is: `veth`, `bridge`, `loopback` ...
        kind: String,
    } = "ADIT-E0218" Mismatch,
        "the interface of that name is no TUN or TAP device",
        "EINVAL. The name belongs to an interface of another driver, which cannot be attached to.",
        "choose another name; `ip -d link show NAME` tells what it is";
    ModeMismatch {
        /// What the device is.
        have: Mode,
        /// What was asked for.
        want: Mode,
    } = "ADIT-E0219" Mismatch,
        "the device is of the other layer: TUN carries packets, TAP carries frames",
        "EINVAL. A device stays TUN or TAP for life.",
        "ask for what it is (`--mode tun` or `--mode tap`), choose another name, or delete it: `adit dev del \
         NAME`";
    DeviceMultiQueue = "ADIT-E0220" Mismatch,
        "the device was made multi-queue, and one queue without it was asked for",
        "EINVAL. IFF_MULTI_QUEUE must be given at each attach as it was when the device was made.",
        "attach with `--multi-queue`";
    DeviceSingleQueue = "ADIT-E0221" Mismatch,
        "the device was made with one queue, and multi-queue was asked for",
        "EINVAL. IFF_MULTI_QUEUE must be given at each attach as it was when the device was made.",
        "attach with one queue, or delete the device and make it anew with `--multi-queue`";
    QueuesExhausted {
        /// How many a device can have.
        limit: u16,
    } = "ADIT-E0222" Limit,
        "the device has 256 queues already",
        "E2BIG. Detached queues count too (MAX_TAP_QUEUES).",
        "close queues that are not needed: each open descriptor is one";
    NoSuchDevice = "ADIT-E0223" NotFound,
        "there is no such device in this network namespace",
        "ENODEV. Names are those of one network namespace; a device that is not persistent goes \
         with the program that made it.",
        "list what is there with `adit dev show` (`ip link`), look in other namespaces, or make \
         it: `adit dev add NAME`";
    AlreadyAttached = "ADIT-E0224" Exists,
        "the descriptor has a device already",
        "EEXIST, or EPERM for its index. One open file of /dev/net/tun is one queue of one device.",
        "open /dev/net/tun once more for another device or queue";
    NapiFragsOnTun = "ADIT-E0225" InvalidValue,
        "IFF_NAPI_FRAGS is for TAP devices only",
        "EINVAL. It builds Ethernet frames out of fragments.",
        "ask for a TAP device or leave NAPI_FRAGS out";
    NapiFragsWithoutNapi = "ADIT-E0226" InvalidValue,
        "IFF_NAPI_FRAGS needs IFF_NAPI",
        "EINVAL. The fragments are handed over by NAPI.",
        "turn NAPI on too";
    NamesExhausted = "ADIT-E0227" Limit,
        "the pattern of the name has no free number left",
        "ENFILE. The kernel tries the numbers from 0 up to 32767 for '%d'.",
        "choose another pattern, or delete devices that are not needed: `adit dev show`";
    FlagsUnknown {
        /// `IFF_*` that TUNGETFEATURES does not list.
        flags: u32,
    } = "ADIT-E0228" Unsupported,
        "this kernel's tun driver lacks a feature that was asked for",
        "The kernel takes flags that it does not know without a word, so adit asks first \
         (TUNGETFEATURES).",
        "leave the feature out or use a newer kernel; `adit doctor` lists what this one has";
    NameRaced = "ADIT-E0229" Busy,
        "the device came or went while it was looked for",
        "EBUSY or EINVAL, and what would explain it is no longer there: another program makes or \
         deletes a device of that name at this moment.",
        "try again";

    UserNotMapped {
        /// The user that was asked for.
        id: u32,
    } = "ADIT-E0301" InvalidValue,
        "the user does not exist in this user namespace",
        "EINVAL, or the owner that was read back is another. Ids are those of the caller's user \
         namespace (/proc/self/uid_map); 4294967295 means nobody.",
        "give the user a mapping (`unshare --map-users`, /etc/subuid), or set the owner from \
         outside of the namespace";
    GroupNotMapped {
        /// The group that was asked for.
        id: u32,
    } = "ADIT-E0302" InvalidValue,
        "the group does not exist in this user namespace",
        "EINVAL, or the group that was read back is another. Ids are those of the caller's user \
         namespace (/proc/self/gid_map); 4294967295 means nobody.",
        "give the group a mapping (`unshare --map-groups`, /etc/subgid), or set the group from \
         outside of the namespace";
    LinkTypeWhileUp = "ADIT-E0303" Busy,
        "the link type cannot change while the link is up",
        "EBUSY from TUNSETLINK.",
        "set it down first: `adit dev set NAME --down`";
    OffloadUnknown {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0304" Unsupported,
        "this kernel does not take that set of offloads",
        "EINVAL although the set obeys the rules: USO needs Linux 6.2, UDP tunnel GSO Linux 6.17.",
        "let adit choose (`OffloadChoice::Auto`), or use a newer kernel";
    OffloadNeedsChecksum {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0305" InvalidValue,
        "every offload needs the checksum offload",
        "EINVAL. A super-packet's checksum can only be finished by who cuts it up.",
        "add csum to the set";
    OffloadUsoPair {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0306" InvalidValue,
        "the offloads uso4 and uso6 go together only",
        "EINVAL. The kernel has one switch for UDP super-packets of both families.",
        "ask for both or for neither";
    OffloadTunnelAlone {
        /// The set that was refused.
        set: Offload,
    } = "ADIT-E0307" InvalidValue,
        "the UDP tunnel offload needs tso or uso, and its checksum needs the offload itself",
        "EINVAL. It says how a super-packet is wrapped, so there must be super-packets.",
        "add tso4 and tso6 to the set, and udp_tunnel_gso to udp_tunnel_gso_csum";
    OffloadNeedsHeader {
        /// The set that was asked for.
        set: Offload,
    } = "ADIT-E0308" InvalidValue,
        "offloads need a virtio-net header before each packet",
        "The kernel would take the set and hand over super-packets and half-made checksums that \
         nothing describes.",
        "open the device with a virtio-net header (`--vnet-hdr`), or ask for no offloads";
    OffloadNeedsTunnelHeader {
        /// The set that was asked for.
        set: Offload,
    } = "ADIT-E0309" InvalidValue,
        "UDP tunnel offload needs a virtio-net header of 24 bytes",
        "With a shorter one every such packet is lost with EFAULT on reading.",
        "open the device with the 24-byte header, or leave udp_tunnel_gso out";
    HeaderLength = "ADIT-E0310" Unsupported,
        "the kernel did not keep the length of the virtio-net header",
        "EINVAL from TUNSETVNETHDRSZ, or another length was read back.",
        "use the header of 10 or 12 bytes, which every kernel has";
    EndianUnsupported = "ADIT-E0311" Unsupported,
        "this kernel cannot change the byte order of the virtio-net header",
        "EINVAL. The order that is not the machine's own needs CONFIG_TUN_VNET_CROSS_LE.",
        "use little endian on little-endian machines";
    SendBufferEmpty = "ADIT-E0312" InvalidValue,
        "the send buffer cannot be 0 bytes",
        "EINVAL from TUNSETSNDBUF: nothing could ever be sent.",
        "give it room for a packet at least, or no limit";
    TxFilterOnTun = "ADIT-E0313" Unsupported,
        "an address filter is for TAP devices only",
        "EINVAL from TUNSETTXFILTER: packets of a TUN device have no hardware address.",
        "use a TAP device, or an eBPF filter";
    TxFilterFull {
        /// How many addresses were asked for.
        len: usize,
    } = "ADIT-E0314" Limit,
        "the address filter holds 8 unicast addresses and 256 altogether",
        "With a ninth unicast address the kernel would let everything through without a word.",
        "give fewer addresses, or filter with eBPF";
    FilterRefused = "ADIT-E0315" InvalidValue,
        "the kernel refused the packet filter",
        "EINVAL. The device is TUN (classic filters are for TAP only), or the program is not \
         valid: empty, longer than 4096 instructions, a jump out of it, no return at its end.",
        "use a TAP device, and check the program with `tcpdump -d`";
    EbpfProgram = "ADIT-E0316" InvalidValue,
        "the descriptor is not an eBPF program of type socket filter",
        "EINVAL or EBADF. Steering and filtering take BPF_PROG_TYPE_SOCKET_FILTER only.",
        "load the program as a socket filter";
    EbpfPermission = "ADIT-E0317" NotPermitted,
        "loading eBPF needs CAP_BPF in the first user namespace",
        "EPERM. kernel.unprivileged_bpf_disabled keeps everybody else out.",
        "run it as root of the host, or leave steering to the kernel";
    VnetHashUnsupported = "ADIT-E0318" Unsupported,
        "this kernel has no hash of flows in the virtio-net header",
        "EINVAL from TUNSETVNETHASH; no released kernel has it yet.",
        "let adit steer by eBPF instead";
    QueueState = "ADIT-E0319" Mismatch,
        "the queue is that way already, or the device has one queue only",
        "EINVAL from TUNSETQUEUE: attaching twice, detaching twice, or a device that is not \
         multi-queue.",
        "make the device with `--multi-queue`, and ask `is_detached` first";
    DeviceNetnsForbidden = "ADIT-E0320" NotPermitted,
        "finding the device's namespace needs CAP_NET_ADMIN there",
        "EPERM from TUNGETDEVNETNS.",
        "run it as root, or inside of the namespace";
    MacInvalid = "ADIT-E0321" InvalidValue,
        "the hardware address is a group address or all zero",
        "EADDRNOTAVAIL. A device's own address has the lowest bit of its first byte clear.",
        "choose a local unicast address, as 02:00:00:00:00:01";
    MacOnTun = "ADIT-E0322" Unsupported,
        "the device has no hardware address that could be set",
        "EOPNOTSUPP or EINVAL. TUN devices work above the link layer.",
        "use a TAP device (`--mode tap`), or leave the address out";
    MtuTooSmall {
        /// What was asked for.
        mtu: u32,
        /// The least that the device takes.
        min: u32,
    } = "ADIT-E0323" InvalidValue,
        "the MTU is below what the device takes",
        "EINVAL. TUN and TAP devices take 68 and more; IPv6 needs 1280.",
        "choose an MTU of 1280 or more";
    MtuTooLarge {
        /// What was asked for.
        mtu: u32,
        /// The most that the device takes.
        max: u32,
    } = "ADIT-E0324" InvalidValue,
        "the MTU is above what the device takes",
        "EINVAL. TUN takes up to 65535, TAP up to 65521 (the frame's header counts), veth and \
         hardware what their driver says.",
        "choose a smaller MTU; for bulk, offloads do more than a large MTU";
    MtuOutOfRange {
        /// What was asked for.
        mtu: u32,
    } = "ADIT-E0325" InvalidValue,
        "the MTU is not one that the device takes",
        "EINVAL, and the device does not tell its limits.",
        "choose an MTU between 1280 and 1500";
    TxQueueLenTooLong {
        /// What was asked for.
        packets: u32,
        /// The most that a TUN or TAP device takes.
        limit: u32,
    } = "ADIT-E0326" InvalidValue,
        "the queue length is above what the driver takes",
        "EPERM, which here is no matter of permission: the ring of the queue cannot be made that \
         large.",
        "choose 524288 packets or fewer; 500 to 5000 are usual";
    AliasTooLong = "ADIT-E0327" InvalidValue,
        "the description is longer than 255 bytes",
        "EINVAL or ERANGE (IFALIASZ).",
        "shorten it";
    NameTaken = "ADIT-E0328" Exists,
        "another interface has that name",
        "EEXIST. Alternative names count too.",
        "choose another name; `ip link` lists those that are taken";
    RenameWhileUp = "ADIT-E0329" Busy,
        "this kernel renames an interface only while it is down",
        "EBUSY. Kernels before 6.2 do not rename what is up.",
        "set it down first: `adit dev set NAME --down`";
    NoSuchMaster = "ADIT-E0330" NotFound,
        "there is no such bridge",
        "ENODEV, and the device itself is there.",
        "make it first: `ip link add name BRIDGE type bridge && ip link set BRIDGE up`";
    MasterNotBridge = "ADIT-E0331" Mismatch,
        "the interface that is to be the master takes no ports",
        "EOPNOTSUPP. Only bridges, bonds, teams and VRFs have ports.",
        "name a bridge: `ip link show type bridge` lists them";
    MasterLoop = "ADIT-E0332" InvalidValue,
        "the device would be a port of itself, or a bridge of a bridge",
        "ELOOP.",
        "choose another bridge; two bridges are joined by a veth pair";
    MasterNeedsTap = "ADIT-E0333" Mismatch,
        "a bridge takes Ethernet devices only",
        "EINVAL. TUN devices carry packets without frames.",
        "make a TAP device (`--mode tap`) for the bridge, or route to the TUN device";
    MasterBusy = "ADIT-E0334" Busy,
        "the device is a port of something else",
        "EBUSY.",
        "take it away from there first: `ip link set NAME nomaster`";
    CannotDelete = "ADIT-E0335" Unsupported,
        "the interface cannot be deleted",
        "EOPNOTSUPP. Hardware, `lo` and a device of another driver's making stay.",
        "set it down instead: `adit dev set NAME --down`";
    NameTakenThere = "ADIT-E0336" Exists,
        "the other namespace has an interface of that name",
        "EEXIST.",
        "rename one of them first: `adit dev set NAME --name OTHER`";
    CannotMove = "ADIT-E0337" Unsupported,
        "the interface is bound to its network namespace",
        "EINVAL. `lo`, bridges' own ports of some kinds and tunnels' fallback devices are local.",
        "make the device in the other namespace instead: `adit -n OTHER dev add NAME`";
    CarrierUnsupported = "ADIT-E0338" Unsupported,
        "the device's carrier cannot be set from outside",
        "EOPNOTSUPP, or EINVAL while the link is down.",
        "set the link up first; TUN and TAP devices take it, others need not";
    QueueForbidden = "ADIT-E0339" NotPermitted,
        "attaching a queue again needs the right to attach to the device",
        "EPERM from TUNSETQUEUE: the device's owner or group has changed, or rights were given up.",
        "keep the queue attached, or run it as the owner";

    LinkDown = "ADIT-E0401" LinkDown,
        "the link is down",
        "EIO on sending: the packet is lost, the device is still there. Receiving goes on: it \
         gives what was queued, then waits.",
        "set it up: `adit dev set NAME --up`";
    DeviceGone = "ADIT-E0402" DeviceGone,
        "the device was deleted",
        "EBADFD; EFAULT for the read that was waiting; ENODEV from netlink; EPOLLERR from epoll, \
         for ever. Somebody deleted it, or its network namespace ended.",
        "stop, or make it anew: `adit dev add NAME --mode tun`; `adit dev watch` shows who comes \
         and goes";
    WouldBlock = "ADIT-E0403" WouldBlock,
        "there is no packet to receive, or no room to send",
        "EAGAIN of a queue that does not wait; with a send buffer limit also on sending.",
        "wait with poll or epoll, or open the device so that it waits";
    PacketEmpty = "ADIT-E0404" Malformed,
        "the packet is empty",
        "EINVAL. A write of no bytes is not a packet.",
        "send nothing instead";
    NotIp {
        /// The first four bits of the packet.
        version: u8,
    } = "ADIT-E0405" Malformed,
        "the packet is neither IPv4 nor IPv6",
        "EINVAL. A TUN device without packet information tells the protocol by the first four \
         bits; Ethernet frames, for one, are not for it.",
        "send packets, not frames; for frames make a TAP device (`--mode tap`)";
    FrameShort {
        /// Its length without headers of the queue.
        len: usize,
    } = "ADIT-E0406" Malformed,
        "the frame is shorter than an Ethernet header",
        "EINVAL. A frame has 14 bytes at least.",
        "send whole frames; for bare packets make a TUN device (`--mode tun`)";
    HeadersShort {
        /// What was sent.
        len: usize,
        /// How many bytes the queue's headers have.
        headers: usize,
    } = "ADIT-E0407" Malformed,
        "the packet is shorter than the headers that the queue wants before it",
        "EINVAL. Packet information has 4 bytes, the virtio-net header 10 to 24.",
        "put the headers of the queue's layout before each packet";
    VnetHeaderRefused = "ADIT-E0408" Malformed,
        "the virtio-net header does not fit its packet",
        "EINVAL. A checksum or segment beyond the packet, a segment size of 0, a type that is not \
         the packet's, more than 128 UDP segments. Some kernels (6.1.103, 6.6.44) refuse sound \
         super-packets too.",
        "cut the packet up and send the segments without offload";
    PacketTooLong {
        /// Its length without headers of the queue.
        len: usize,
        /// The most that is sent.
        max: usize,
    } = "ADIT-E0409" Malformed,
        "the packet is longer than any packet can be",
        "EMSGSIZE from adit: the kernel would take it and drop it later without a word.",
        "send packets of up to 65535 bytes, and no more than the MTU unless they are super-packets";
    QueueDetached = "ADIT-E0410" Busy,
        "the queue is detached, and with NAPI it then sends nothing",
        "EBUSY.",
        "attach the queue first, or leave NAPI out";
    BufferShort {
        /// How long the buffer was.
        len: usize,
        /// How many bytes the queue's headers have.
        headers: usize,
    } = "ADIT-E0411" InvalidValue,
        "the buffer is shorter than the headers before each packet, and the packet is lost",
        "EINVAL on receiving.",
        "receive into 69632 bytes (RECORD_LEN_MAX), which hold whatever comes";
    TunnelHeaderShort = "ADIT-E0412" Mismatch,
        "the packet needs a virtio-net header of 24 bytes, and is lost",
        "EFAULT on receiving while the device is still there: UDP tunnel offload is on and the \
         header too short.",
        "open the device with the 24-byte header, or turn udp_tunnel_gso off";
    Interrupted = "ADIT-E0413" WouldBlock,
        "a signal came while waiting",
        "EINTR.",
        "try again";
    NoBuffer = "ADIT-E0414" Limit,
        "the pool has no buffer left",
        "ENOBUFS from adit: all buffers are in use.",
        "give buffers back to the pool, or make it larger";

    NetlinkForbidden {
        /// Whether we are root in a user namespace that is not the network namespace's.
        user_namespace: bool,
    } = "ADIT-E0501" NotPermitted,
        "changing interfaces needs CAP_NET_ADMIN over the network namespace",
        "EPERM. Owning a TUN device gives the right to attach to it, not to set it up, nor to \
         give it addresses.",
        "run it with sudo, `setcap cap_net_admin+ep` on the program, inside a rootless namespace \
         (`unshare -Urn`), or in a container with `--cap-add=NET_ADMIN`";
    NetlinkSilent = "ADIT-E0502" Other,
        "the kernel did not answer in time",
        "ETIMEDOUT from adit: another program holds the lock of the network configuration.",
        "try again; `dmesg` tells of tasks that hang";
    NetlinkUnsettled = "ADIT-E0503" Other,
        "the list of interfaces never stood still",
        "EINTR from adit: the kernel said that it changed while it was read, each time.",
        "try again when fewer interfaces come and go";
    Refused {
        /// The kernel's own words.
        words: String,
    } = "ADIT-E0504" InvalidValue,
        "the kernel gave its own reason",
        "The words come from the kernel (an extended acknowledgement of netlink).",
        "change what the words name";
    AddressExists = "ADIT-E0510" Exists,
        "the device has that address already",
        "EEXIST.",
        "leave it, or replace it: `ip address replace ADDRESS dev NAME`";
    AddressMissing = "ADIT-E0511" NotFound,
        "the device does not have that address",
        "EADDRNOTAVAIL. Address and prefix length must both agree.",
        "list what it has: `ip address show dev NAME`";
    Ipv6Disabled = "ADIT-E0512" Unsupported,
        "IPv6 is switched off on this device",
        "EACCES. net.ipv6.conf.NAME.disable_ipv6 is 1, as containers often have it.",
        "switch it on: `sysctl net.ipv6.conf.NAME.disable_ipv6=0` (a container: `--sysctl \
         net.ipv6.conf.all.disable_ipv6=0`)";
    Ipv6Missing = "ADIT-E0513" Unsupported,
        "this kernel has no IPv6",
        "EOPNOTSUPP or EAFNOSUPPORT. It was built or started (ipv6.disable=1) without.",
        "leave IPv6 addresses out, or start the kernel without ipv6.disable=1";
    MtuBelowIpv6 {
        /// What the device has.
        mtu: u32,
    } = "ADIT-E0514" InvalidValue,
        "the MTU is below the 1280 bytes that IPv6 needs",
        "EINVAL. The kernel takes IPv6 off a device whose MTU is smaller.",
        "raise it first: `adit dev set NAME --mtu 1280`";
    RouteExists = "ADIT-E0520" Exists,
        "there is a route to that network with that metric already",
        "EEXIST.",
        "choose another metric, or replace the route: `ip route replace ...`";
    GatewayUnreachable = "ADIT-E0521" InvalidValue,
        "the gateway is not on a network of this device",
        "ENETUNREACH, EHOSTUNREACH or EINVAL. A gateway must be reachable without another gateway.",
        "give the device an address of the gateway's network first, leave the gateway out (a TUN \
         device needs none), or use `onlink`";
    RouteLinkDown = "ADIT-E0522" LinkDown,
        "routes need the link to be up",
        "ENETDOWN.",
        "set it up first: `adit dev set NAME --up`";
    RouteMissing = "ADIT-E0523" NotFound,
        "there is no such route",
        "ESRCH. Network, table, metric and device must agree.",
        "list what there is: `ip route show table all dev NAME`";
    RouteSource = "ADIT-E0524" InvalidValue,
        "the preferred source is not an address of this host",
        "EINVAL.",
        "add the address first: `adit dev set NAME --add-addr ADDRESS`";
    RouteHostBits = "ADIT-E0525" InvalidValue,
        "the route's network has bits set beyond its prefix",
        "EINVAL: 192.0.2.1/24 is an address in a network, 192.0.2.0/24 is the network.",
        "clear the bits beyond the prefix";
    NetnsMissing {
        /// The names that there are.
        existing: Vec<String>,
    } = "ADIT-E0540" NotFound,
        "there is no network namespace of that name",
        "ENOENT. Names are files in /run/netns, as `ip netns add` makes them; containers' \
         namespaces have none, but can be had by process: /proc/PID/ns/net.",
        "make it with `ip netns add NAME`; `ip netns list` lists them";
    NotNetns = "ADIT-E0541" Mismatch,
        "the file is not a network namespace",
        "EINVAL. It is a plain file (what is left in /run/netns after a mount was lost) or a \
         namespace of another sort.",
        "name a file such as /run/netns/NAME or /proc/PID/ns/net; delete a dead name with `ip netns \
         del NAME`";
    NetnsForbidden = "ADIT-E0542" NotPermitted,
        "entering or making a network namespace needs CAP_SYS_ADMIN",
        "EPERM or EACCES. Both in the present user namespace and in the one that owns the \
         namespace.",
        "run it with sudo, or all of it in a rootless namespace: `unshare -Urn`";
    NetnsLimit = "ADIT-E0543" Limit,
        "the limit on network namespaces is reached",
        "ENOSPC.",
        "raise it: `sysctl user.max_net_namespaces=100000`, or delete some: `lsns -t net` lists \
         them";
    NetnsProcess = "ADIT-E0544" NotFound,
        "there is no such process, or /proc is not mounted",
        "ENOENT or ESRCH of /proc/PID/ns/net.",
        "look for the process with `lsns -t net`; mount /proc if it is missing";
    NetnsName = "ADIT-E0545" InvalidName,
        "the name is not one for a network namespace",
        "It becomes the name of a file in /run/netns: not empty, no '/', not '.' or '..'.",
        "choose another name, or give the whole path of the file";
    UsernsOff = "ADIT-E0550" Unsupported,
        "user namespaces are switched off on this machine",
        "ENOSPC or EPERM, and user.max_user_namespaces is 0, or kernel.unprivileged_userns_clone.",
        "switch them on as root: `sysctl user.max_user_namespaces=10000` (Debian's older kernels: \
         `sysctl kernel.unprivileged_userns_clone=1`)";
    UsernsAppArmor = "ADIT-E0551" NotPermitted,
        "AppArmor keeps programs without a profile from user namespaces",
        "EPERM or EACCES, and kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu \
         since 24.04.",
        "write a profile with `userns,` for the program, or as root `sysctl \
         kernel.apparmor_restrict_unprivileged_userns=0`";
    UsernsLimit = "ADIT-E0552" Limit,
        "the limit on user namespaces is reached",
        "ENOSPC although user.max_user_namespaces is not 0: as many are in use, or 32 are nested.",
        "raise it: `sysctl user.max_user_namespaces=100000`; `lsns -t user` lists them";
    UsernsThreads = "ADIT-E0553" InvalidValue,
        "a process with more than one thread cannot enter a new user namespace",
        "EINVAL from unshare(2).",
        "enter it before the first thread starts, or start the program under `unshare -Urn`";
    UsernsForbidden = "ADIT-E0554" NotPermitted,
        "this process may not make a user namespace",
        "EPERM for no reason that shows: a chroot, a container's seccomp filter, or ids without \
         a mapping.",
        "in a container `--security-opt seccomp=unconfined` or a profile that allows unshare; not \
         inside a chroot";

    FilesOfProcess = "ADIT-E0601" Limit,
        "this process has as many files open as it may",
        "EMFILE. Each queue is a descriptor.",
        "raise the limit: `ulimit -n 65536`, or LimitNOFILE= of its systemd unit";
    FilesOfSystem = "ADIT-E0602" Limit,
        "the machine has as many files open as it may",
        "ENFILE from open(2).",
        "raise it: `sysctl fs.file-max=1000000`, and look for who leaks: `lsof | wc -l`";
    NotTun {
        /// What it is, as /proc/self/fd shows it; empty if unknown.
        file: String,
    } = "ADIT-E0603" Mismatch,
        "the descriptor is not one of /dev/net/tun",
        "ENOTTY or EINVAL. It is a socket, a pipe or another file: often the wrong number was \
         passed.",
        "pass the descriptor of /dev/net/tun; `ls -l /proc/PID/fd` shows which it is";
    NotOpen = "ADIT-E0604" NotFound,
        "the descriptor is not open",
        "EBADF. Nobody passed it, or it was closed on exec (O_CLOEXEC).",
        "have the parent clear FD_CLOEXEC of the descriptor and pass its number";
    Unattached = "ADIT-E0605" NotFound,
        "the descriptor of /dev/net/tun has no device",
        "EBADFD. TUNSETIFF was never called on it, or its device was deleted.",
        "have who opened it call TUNSETIFF first, or pass a name to make a device";
    FdMode {
        /// What the device is.
        have: Mode,
        /// What was asked for.
        want: Mode,
    } = "ADIT-E0606" Mismatch,
        "the device of the descriptor is of the other layer",
        "The descriptor is sound, but its device is TUN where TAP was asked for, or the other way.",
        "ask for what it is (`--mode tun` or `--mode tap`), or have the other one passed";
    NoFdPassed = "ADIT-E0607" NotFound,
        "no descriptor came with the message",
        "The socket gave a message without SCM_RIGHTS, or LISTEN_FDS is not set for this process.",
        "check that the sender attaches the descriptor, and the order of the messages";

    OutOfMemory = "ADIT-E0901" Limit,
        "the kernel has no memory for it",
        "ENOMEM or ENOBUFS.",
        "free memory, or raise the memory limit of the cgroup";
    Other = "ADIT-E0999" Other,
        "the kernel refused",
        "None of the causes that adit knows; the errno is all there is.",
        "look at `dmesg`, and report it with the whole error text: it should have a cause";
}
