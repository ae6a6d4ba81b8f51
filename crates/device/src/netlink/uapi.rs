//! Numbers of the kernel's routing netlink, under the kernel's names.
//!
//! Sources: `linux/rtnetlink.h`, `if_link.h`, `if_addr.h`, `fib_rules.h`, `if_tun.h`, `neighbour.h`, `pkt_cls.h`.

// Kinds of message (rtnetlink.h).
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
pub(super) const RTM_NEWRULE: u16 = 32;
pub(super) const RTM_DELRULE: u16 = 33;
pub(super) const RTM_GETRULE: u16 = 34;
pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_DELQDISC: u16 = 37;
pub(super) const RTM_NEWTFILTER: u16 = 44;
pub(super) const RTM_DELTFILTER: u16 = 45;
pub(super) const RTM_GETTFILTER: u16 = 46;
pub(super) const RTM_NEWLINKPROP: u16 = 108;
pub(super) const RTM_DELLINKPROP: u16 = 109;

// Address families (socket.h), as the one byte of a family header.
pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

// An attribute and states of a neighbor (neighbour.h).
pub(super) const NDA_DST: u16 = 1;
pub(super) const NUD_NOARP: u16 = 0x40;
pub(super) const NUD_PERMANENT: u16 = 0x80;

// Attributes of a link (if_link.h).
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_BROADCAST: u16 = 2;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_QDISC: u16 = 6;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_TXQLEN: u16 = 13;
pub(super) const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKMODE: u16 = 17;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_STATS64: u16 = 23;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_GROUP: u16 = 27;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const RTEXT_FILTER_VF: u32 = 1;
pub(super) const IFLA_PROMISCUITY: u16 = 30;
pub(super) const IFLA_NUM_TX_QUEUES: u16 = 31;
pub(super) const IFLA_NUM_RX_QUEUES: u16 = 32;
pub(super) const IFLA_CARRIER: u16 = 33;
pub(super) const IFLA_LINK_NETNSID: u16 = 37;
pub(super) const IFLA_GSO_MAX_SEGS: u16 = 40;
pub(super) const IFLA_GSO_MAX_SIZE: u16 = 41;
pub(super) const IFLA_NEW_NETNSID: u16 = 45;
pub(super) const IFLA_MIN_MTU: u16 = 50;
pub(super) const IFLA_MAX_MTU: u16 = 51;
pub(super) const IFLA_PROP_LIST: u16 = 52;
pub(super) const IFLA_ALT_IFNAME: u16 = 53;
pub(super) const IFLA_PERM_ADDRESS: u16 = 54;
pub(super) const IFLA_GRO_MAX_SIZE: u16 = 58;
pub(super) const IFLA_TSO_MAX_SIZE: u16 = 59;
pub(super) const IFLA_TSO_MAX_SEGS: u16 = 60;
pub(super) const IFLA_ALLMULTI: u16 = 61;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const VETH_INFO_PEER: u16 = 1;

// Attributes of a TUN or TAP device (if_link.h).
pub(super) const IFLA_TUN_OWNER: u16 = 1;
pub(super) const IFLA_TUN_GROUP: u16 = 2;
pub(super) const IFLA_TUN_TYPE: u16 = 3;
pub(super) const IFLA_TUN_PI: u16 = 4;
pub(super) const IFLA_TUN_VNET_HDR: u16 = 5;
pub(super) const IFLA_TUN_PERSIST: u16 = 6;
pub(super) const IFLA_TUN_MULTI_QUEUE: u16 = 7;
pub(super) const IFLA_TUN_NUM_QUEUES: u16 = 8;
pub(super) const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;

// Attributes of an address (if_addr.h).
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_LABEL: u16 = 3;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const IFA_CACHEINFO: u16 = 6;
pub(super) const IFA_FLAGS: u16 = 8;

// Attributes and places of the packet classifier (rtnetlink.h, pkt_sched.h, pkt_cls.h).
pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_BPF_FD: u16 = 6;
pub(super) const TCA_BPF_NAME: u16 = 7;
pub(super) const TCA_BPF_FLAGS: u16 = 8;
pub(super) const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
pub(super) const TC_H_CLSACT: u32 = 0xffff_fff1;
pub(super) const TC_H_CLSACT_HANDLE: u32 = 0xffff_0000;
pub(super) const TC_H_CLSACT_INGRESS: u32 = 0xffff_fff2;
pub(super) const TC_H_CLSACT_EGRESS: u32 = 0xffff_fff3;

// Attributes of an error (netlink.h).
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;

// Attributes of a route (rtnetlink.h).
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_METRICS: u16 = 8;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTAX_MTU: u16 = 2;
pub(super) const RTNH_F_ONLINK: u8 = 4;
pub(super) const RTM_F_CLONED: u32 = 0x200;

// Attributes of a rule (fib_rules.h).
pub(super) const FRA_DST: u16 = 1;
pub(super) const FRA_SRC: u16 = 2;
pub(super) const FRA_IIFNAME: u16 = 3;
pub(super) const FRA_PRIORITY: u16 = 6;
pub(super) const FRA_FWMARK: u16 = 10;
pub(super) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(super) const FRA_TABLE: u16 = 15;
pub(super) const FRA_FWMASK: u16 = 16;
pub(super) const FRA_OIFNAME: u16 = 17;
pub(super) const FRA_UID_RANGE: u16 = 20;
pub(super) const FRA_PROTOCOL: u16 = 21;
pub(super) const FIB_RULE_INVERT: u32 = 2;

// Multicast groups (rtnetlink.h): RTNLGRP_* n as bit n - 1 of the socket's address.
pub(super) const GROUP_LINK: u32 = 1;
pub(super) const GROUP_IPV4_IFADDR: u32 = 1 << 4;
pub(super) const GROUP_IPV4_ROUTE: u32 = 1 << 6;
pub(super) const GROUP_IPV4_RULE: u32 = 1 << 7;
pub(super) const GROUP_IPV6_IFADDR: u32 = 1 << 8;
pub(super) const GROUP_IPV6_ROUTE: u32 = 1 << 10;
pub(super) const GROUP_IPV6_RULE: u32 = 1 << 18;
