//! What the manual says of commands beside their help.

/// A file or a variable, and which commands use it.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    /// The first words of the commands; empty for all.
    of: &'static [&'static str],
}

impl Entry {
    /// Whether the command with this path (`dev add`) uses it. The page of the program lists all.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.of.is_empty() || path.is_empty() || begins_with_any(path, self.of)
    }
}

const fn entry(name: &'static str, meaning: &'static str, of: &'static [&'static str]) -> Entry {
    Entry { name, meaning, of }
}

fn begins_with_any(path: &str, of: &[&str]) -> bool {
    of.iter().any(|words| {
        path.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// The commands that open TUN and TAP devices.
const DEVICES: &[&str] = &["dev", "tuntap", "doctor", "capture", "switch", "netem", "tunnel"];
/// The programs with a control socket.
const SERVICES: &[&str] = &["list", "switch", "netem", "tunnel"];
const TUNNEL: &[&str] = &["tunnel"];

pub(super) const FILES: [Entry; 11] = [
    entry("/dev/net/tun", "The node of the kernel's TUN/TAP driver.", DEVICES),
    entry("/run/netns/NAME", "A network namespace with a name, for --netns.", &[]),
    entry(
        "$XDG_RUNTIME_DIR/adit/NAME.sock, /run/adit/NAME.sock",
        "The control socket of a running switch, link or tunnel. See adit-control(7).",
        SERVICES,
    ),
    entry(
        "$XDG_RUNTIME_DIR/adit/NAME.lock, /run/adit/NAME.lock",
        "Locked while a program of that name runs. It contains the process ID.",
        SERVICES,
    ),
    entry(
        "/etc/adit/NAME.toml, /etc/adit/NAME.conf, /etc/wireguard/NAME.conf",
        "The files of tunnel NAME, searched in this order. See adit.toml(5).",
        TUNNEL,
    ),
    entry("/run/wireguard/NAME.sock", "The socket on which wg(8) configures a tunnel.", TUNNEL),
    entry(
        "$STATE_DIRECTORY/NAME.timestamps, /var/lib/adit/NAME.timestamps",
        "The newest handshake timestamps of a tunnel. They protect against replay after a restart.",
        TUNNEL,
    ),
    entry(
        "$XDG_STATE_HOME/adit/NAME.timestamps, ~/.local/state/adit/NAME.timestamps",
        "The same for users other than root.",
        TUNNEL,
    ),
    entry(
        "~/.local/lib/wireshark/extcap/adit",
        "A link to the program, made by --install-extcap. The folder is the one that tshark reports.",
        &["capture"],
    ),
    entry(
        "/etc/bash_completion.d/adit",
        "A usual place for the completions of bash.",
        &["completions"],
    ),
    entry(
        "/usr/local/share/man/man1, man5, man7",
        "The usual places for the pages, by section.",
        &["man"],
    ),
];

pub(super) const ENVIRONMENT: [Entry; 15] = [
    entry("NO_COLOR", "Not empty: no colors, unless --color always is given.", &[]),
    entry("TERM", "'dumb': no colors, unless --color always is given.", &[]),
    entry("COLUMNS", "The width to which help is wrapped, if the terminal reports none.", &[]),
    entry(
        "XDG_RUNTIME_DIR",
        "Control sockets are in its subdirectory adit. Without it they are in /run/user/UID/adit, and for root in /run/adit.",
        SERVICES,
    ),
    entry(
        "NOTIFY_SOCKET",
        "Set by systemd for services of Type=notify: the program reports ready, reloading, stopping.",
        SERVICES,
    ),
    entry(
        "WATCHDOG_USEC",
        "Set by systemd for WatchdogSec=: the loop reports twice in this time that it is alive.",
        SERVICES,
    ),
    entry(
        "STATE_DIRECTORY",
        "Set by systemd for StateDirectory=: where handshake timestamps are stored.",
        TUNNEL,
    ),
    entry(
        "XDG_STATE_HOME",
        "Timestamps are in its subdirectory adit, without STATE_DIRECTORY.",
        TUNNEL,
    ),
    entry(
        "CREDENTIALS_DIRECTORY",
        "Set by systemd for LoadCredential=: where credential:NAME is read from.",
        TUNNEL,
    ),
    entry(
        "HOME",
        "Where files of the user are, without the variables above.",
        &["tunnel", "capture"],
    ),
    entry("PATH", "Where hooks, nft, resolvectl and resolvconf are searched.", TUNNEL),
    entry(
        "PATH",
        "Where tcpdump, which compiles filters, and tshark are searched.",
        &["capture", "switch"],
    ),
    entry(
        "LC_ALL, LC_CTYPE, LANG",
        "The first that is set: with UTF-8 in it, charts are drawn with Braille characters.",
        &["netem preview", "capture", "tunnel show"],
    ),
    entry(
        "LC_ALL, LC_CTYPE, LANG",
        "The first that is set: without UTF-8 in it, screens are of ASCII.",
        &["top"],
    ),
    entry("TERM", "If it is 'dumb', lines are printed in place of a screen.", &["top"]),
];

/// Examples of commands whose help has none, or more of them.
const EXAMPLES: [(&str, &[&str]); 37] = [
    (
        "",
        &[
            "adit doctor",
            "adit dev add tun0 --mode tun --addr 192.0.2.1/24 --up",
            "adit capture tun0",
            "adit switch --port tap:a --port tap:b",
        ],
    ),
    ("dev", &["adit dev add tun0 --mode tun", "adit dev show", "adit dev del tun0"]),
    (
        "dev set",
        &["adit dev set tun0 --mtu 1400 --up", "adit dev set tun0 --add-addr 192.0.2.1/24"],
    ),
    ("dev del", &["adit dev del tun0 tap0"]),
    ("dev show", &["adit dev show", "adit dev show tun0 --stats", "adit -j dev show"]),
    ("dev watch", &["adit dev watch", "adit -j dev watch"]),
    ("tuntap", &["adit tuntap add dev tun0 mode tun user alice", "adit tuntap list"]),
    ("tuntap add", &["adit tuntap add dev tap%d mode tap multi_queue"]),
    ("tuntap del", &["adit tuntap del dev tun0 mode tun"]),
    ("tuntap show", &["adit tuntap show", "adit -j tuntap show"]),
    ("doctor", &["adit doctor", "adit -j doctor"]),
    ("explain", &["adit explain ADIT-E0215", "adit explain E0215", "adit explain"]),
    ("man", &["adit man pages", "man -l pages/adit-switch.1"]),
    ("schema", &["adit schema", "adit schema dev-show"]),
    (
        "switch show",
        &["adit switch show", "adit switch show tap:a", "adit -j switch show --name lab"],
    ),
    ("switch fdb add", &["adit switch fdb add 02:00:00:00:00:01 tap:a --vlan 10"]),
    ("switch fdb del", &["adit switch fdb del 02:00:00:00:00:01 --vlan 10"]),
    ("switch fdb flush", &["adit switch fdb flush", "adit switch fdb flush --port tap:a"]),
    ("switch port", &["adit switch port add tap:c,vlan=20", "adit switch port del tap:c"]),
    ("switch port del", &["adit switch port del tap:c"]),
    ("switch reload", &["adit switch reload --name lab"]),
    ("switch list", &["adit switch list", "adit -j switch list"]),
    ("switch stop", &["adit switch stop --name lab"]),
    ("netem show", &["adit netem show", "adit -j netem show --name netem"]),
    ("netem reload", &["adit netem reload"]),
    ("netem list", &["adit netem list"]),
    ("netem stop", &["adit netem stop --name netem"]),
    ("nat", &["adit nat attach blue", "adit nat show", "adit nat flows"]),
    ("nat show", &["adit nat show", "adit -j nat show run-4711"]),
    ("nat flows", &["adit nat flows", "adit -j nat flows run-4711"]),
    ("nat list", &["adit nat list"]),
    ("nat stop", &["adit nat stop run-4711"]),
    (
        "tunnel",
        &["adit tunnel check site.conf", "adit tunnel up --detach site", "adit tunnel show site"],
    ),
    ("tunnel down", &["adit tunnel down site"]),
    ("tunnel show", &["adit tunnel show", "adit -j tunnel show site"]),
    ("tunnel reload", &["adit tunnel reload site"]),
    ("tunnel check", &["adit tunnel check site.conf", "adit tunnel check --hooks run site.toml"]),
];

/// Commands that take and print keys and invitations.
const KEY_EXAMPLES: [(&str, &[&str]); 6] = [
    (
        "tunnel invite",
        &[
            "adit tunnel invite site --endpoint vpn.example.net",
            "adit tunnel invite site --endpoint vpn.example.net --wg --qr",
        ],
    ),
    ("tunnel join", &["adit tunnel join --up < invitation"]),
    ("tunnel accept", &["adit tunnel accept site --up < reply"]),
    ("tunnel genkey", &["umask 077; adit tunnel genkey > site.key"]),
    ("tunnel genpsk", &["umask 077; adit tunnel genpsk > site.psk"]),
    ("tunnel pubkey", &["adit tunnel pubkey < site.key"]),
];

/// Commands of labs.
const LAB_EXAMPLES: [(&str, &[&str]); 2] = [
    (
        "lab",
        &[
            "adit lab check office.toml",
            "adit lab up office.toml -d",
            "adit lab ping",
            "adit lab down",
        ],
    ),
    ("lab list", &["adit lab list", "adit -j lab list"]),
];

/// Command lines for the page of a command.
pub(super) fn examples(path: &str) -> impl Iterator<Item = &'static str> {
    let of = all_examples().filter(move |(of, _)| *of == path);
    of.flat_map(|(_, lines)| lines.iter().copied())
}

/// All rows: a path and its command lines.
pub(super) fn all_examples() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    EXAMPLES.into_iter().chain(KEY_EXAMPLES).chain(LAB_EXAMPLES)
}

/// Pages about the same matter.
const SEE_ALSO: [(&str, &[&str]); 13] = [
    ("", &["adit.toml(5)", "adit-control(7)"]),
    ("dev", &["ip-link(8)", "ip-address(8)"]),
    ("tuntap", &["adit-dev(1)", "ip(8)"]),
    ("doctor", &["adit-explain(1)"]),
    ("explain", &["adit-doctor(1)"]),
    ("schema", &["adit-control(7)"]),
    ("check", &["adit-tunnel-check(1)", "adit.toml(5)"]),
    ("list", &["adit-control(7)"]),
    ("switch", &["adit.toml(5)", "adit-control(7)", "bridge(8)", "vde_switch(1)"]),
    ("netem", &["adit.toml(5)", "adit-control(7)", "tc-netem(8)"]),
    ("tunnel", &["adit.toml(5)", "adit-control(7)", "wg(8)", "wg-quick(8)"]),
    ("capture", &["tcpdump(8)", "pcap-filter(7)", "extcap(4)"]),
    ("man", &["man(1)"]),
];

/// The pages that a command's SEE ALSO has besides those of its neighbors.
pub(super) fn see_also(path: &str) -> impl Iterator<Item = &'static str> {
    let is_of = move |of: &str| match of {
        "" => path.is_empty(),
        of => begins_with_any(path, &[of]),
    };
    SEE_ALSO
        .into_iter()
        .filter(move |(of, _)| is_of(of))
        .flat_map(|(_, pages)| pages.iter().copied())
}
