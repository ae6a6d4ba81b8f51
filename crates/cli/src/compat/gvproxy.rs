//! The command line of gvproxy, which is one of Go: `-mtu 1500`, `--mtu=1500`.

use super::call::{Call, Fault};
use adit_engine::Transport;
use adit_service::sandbox::Level;
use adit_vpn::drop_in::{Forward, Gvproxy};
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Usage of gvproxy:
  -listen-qemu unix://PATH       where a machine connects, as QEMU's -netdev stream
  -listen-vfkit unixgram://PATH  where a machine sends a datagram for each frame
  -listen unix://PATH            where requests come; can be given more than once
  -services unix://PATH          the same
  -ssh-port PORT                 the host's port for SSH of the machine (default 2222; -1: none)
  -mtu MTU                       the MTU (default 1500)
  -pid-file FILE                 write the process id to FILE
  -log-file FILE                 accepted: errors are printed
  -debug                         accepted
  -version                       print the version
";

/// The MTU, and the host's port for SSH, unless options give others.
const MTU: u16 = 1500;
const SSH_PORT: u16 = 2222;

/// The port of SSH in the machine.
const SSH: u16 = 22;

/// The least and the largest MTU.
const MTU_MIN: u16 = 576;
const MTU_MAX: u16 = 65520;

/// Reads a command line, without the program's name.
pub(super) fn read(words: &[String]) -> Result<Call, Fault> {
    let mut wanted = Gvproxy {
        listen_qemu: None,
        listen_vfkit: None,
        listen: Vec::new(),
        forwards: Vec::new(),
        mtu: MTU,
        pid_file: None,
        sandbox: Level::Try,
    };
    let mut ssh = Some(SSH_PORT);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err(Fault::Usage(format!("unexpected argument: {word}")));
        };
        let (name, joined) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        match name {
            "h" | "help" => return Ok(Call::Print(HELP.to_owned())),
            "version" => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Call::Print(format!("gvproxy version v0.8.0 (adit {version})\n")));
            }
            "debug" => continue,
            _ => {}
        }
        let mut value = || {
            let missing = || Fault::Usage(format!("flag needs an argument: -{name}"));
            joined.or_else(|| words.next()).ok_or_else(missing)
        };
        match name {
            "listen-qemu" => wanted.listen_qemu = Some(path(name, "unix", value()?)?),
            "listen-vfkit" => wanted.listen_vfkit = Some(path(name, "unixgram", value()?)?),
            "listen" | "services" => wanted.listen.push(path(name, "unix", value()?)?),
            "mtu" => {
                let text = value()?;
                let mtu = text.parse().ok().filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu));
                wanted.mtu = mtu.ok_or_else(|| invalid(name, text))?;
            }
            "ssh-port" => {
                ssh = match value()? {
                    "-1" => None,
                    text => {
                        let port = text.parse().ok().filter(|port| (1024..=65535).contains(port));
                        Some(port.ok_or_else(|| invalid(name, text))?)
                    }
                };
            }
            "pid-file" => wanted.pid_file = Some(PathBuf::from(value()?)),
            "log-file" => drop(value()?),
            _ => {
                let why = format!("flag provided but not defined: -{name}");
                return Err(Fault::Usage(why));
            }
        }
    }
    wanted.forwards.extend(ssh.map(forward_ssh));
    if wanted.listen_qemu.is_none() && wanted.listen_vfkit.is_none() {
        return Err(Fault::Usage("-listen-qemu or -listen-vfkit is required".to_owned()));
    }
    Ok(Call::Gvproxy(Box::new(wanted)))
}

/// The machine's SSH at a port of the host's loopback.
fn forward_ssh(port: u16) -> Forward {
    Forward {
        transport: Transport::Tcp,
        local: Some(Ipv4Addr::LOCALHOST.into()),
        interface: None,
        ports: port..=port,
        guest: None,
        inside: SSH,
        as_possible: false,
        option: format!("-ssh-port {port}"),
    }
}

fn invalid(name: &str, text: &str) -> Fault {
    Fault::Usage(format!("invalid value \"{text}\" for flag -{name}"))
}

/// The path of a URL with this scheme.
fn path(name: &str, scheme: &str, text: &str) -> Result<PathBuf, Fault> {
    let rest = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let why = || Fault::Refused(format!("-{name} {text}: adit listens at {scheme}://PATH alone"));
    rest.filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Result<Call, Fault> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&words)
    }

    #[test]
    fn the_command_lines_of_podman_machine_are_read() {
        let line = "-mtu 1500 -ssh-port 40001 -listen-qemu unix:///run/q.sock -listen unix:///run/api.sock \
                    --services=unix:///run/s.sock -pid-file /run/pid -log-file /run/log -debug";
        let mut expected = Gvproxy {
            listen_qemu: Some("/run/q.sock".into()),
            listen_vfkit: None,
            listen: vec!["/run/api.sock".into(), "/run/s.sock".into()],
            forwards: vec![Forward {
                transport: Transport::Tcp,
                local: "127.0.0.1".parse().ok(),
                interface: None,
                ports: 40001..=40001,
                guest: None,
                inside: 22,
                as_possible: false,
                option: "-ssh-port 40001".to_owned(),
            }],
            mtu: 1500,
            pid_file: Some("/run/pid".into()),
            sandbox: Level::Try,
        };
        assert_eq!(call(line), Ok(Call::Gvproxy(Box::new(expected.clone()))));
        (expected.listen_qemu, expected.listen_vfkit) = (None, Some("/run/v.sock".into()));
        (expected.listen, expected.forwards, expected.pid_file) = (Vec::new(), Vec::new(), None);
        let vfkit = "-listen-vfkit unixgram:///run/v.sock -ssh-port -1";
        assert_eq!(call(vfkit), Ok(Call::Gvproxy(Box::new(expected))));
        for (text, part) in [
            ("-bogus", "flag provided but not defined: -bogus"),
            ("-mtu", "flag needs an argument: -mtu"),
            ("-mtu x -listen-qemu unix:///q", "invalid value \"x\" for flag -mtu"),
            ("-ssh-port 22 -listen-qemu unix:///q", "invalid value \"22\" for flag -ssh-port"),
            ("word", "unexpected argument: word"),
            ("-listen unix:///a", "-listen-qemu or -listen-vfkit is required"),
        ] {
            let Err(Fault::Usage(message)) = call(text) else { panic!("{text}") };
            assert!(message.contains(part), "{text}: {message}");
        }
        let Err(Fault::Refused(why)) = call("-listen-qemu tcp://0.0.0.0:1") else { panic!() };
        assert!(why.contains("unix://PATH alone"), "{why}");
        assert!(matches!(call("-version"), Ok(Call::Print(text)) if text.starts_with("gvproxy ")));
        assert_eq!(call("--help"), Ok(Call::Print(HELP.to_owned())));
    }
}
