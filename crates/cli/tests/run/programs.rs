//! Programs of users behind a NAT.

use crate::nat::{Host, V4, adit_run};
use crate::support::{ADIT, bare, command, run, text};
use std::fs;
use std::process::{Child, Stdio};

/// A program in the neighbour's namespace.
struct Server(Child);

impl Server {
    fn new(words: &[&str], port: u16) -> Self {
        let mut server = bare("ip");
        server.args(["netns", "exec", "srv"]).args(words);
        let server = Self(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let listens = format!(
            "timeout 60 sh -c 'until ip netns exec srv ss -Hltn sport = :{port} | grep -q LISTEN; do sleep 0.05; done'"
        );
        assert!(command(["sh", "-c", &listens]).status().unwrap().success(), "{words:?}");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn git_clones_through_the_nat() {
    let _host = Host::new();
    let content: Vec<u8> =
        (0..500_000_u32).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    fs::create_dir("/run/site").unwrap();
    fs::write("/run/site/file", &content).unwrap();
    for line in ["init -q", "add file", "-c user.name=a -c user.email=a@b commit -q -m first"] {
        run(&format!("git -C /run/site {line}"));
    }
    let daemon = ["git", "daemon", "--reuseaddr", "--export-all", "--base-path=/run", "/run/site"];
    let _server = Server::new(&daemon, 9418);
    let url = format!("git://{V4}/site");
    let output = adit_run(&[], &["git", "clone", "-q", &url, "/run/clone"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read("/run/clone/file").unwrap() == content);
}

/// A terminal with a shell on another host, as ssh has it: ADIT ADDRESS.
const REMOTE: &str = r#"
import os, pty, re, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], [sys.argv[1], "run", "--sandbox", "require", "--", "socat", "-,raw,echo=0", f"TCP:{sys.argv[2]}:2222"])
seen = ""
def wait_for(pattern):
    global seen
    end = time.time() + 60
    while time.time() < end:
        found = re.search(pattern, seen)
        if found:
            seen = seen[found.end():]
            return
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 4096).decode(errors="replace")
            except OSError:
                break
    sys.exit(f"no {pattern!r} in {seen!r}")
def line(text):
    os.write(fd, text.encode() + b"\r")
line("echo rea''dy")
wait_for("ready")
# Typed, echoed by the other side.
line("stty size; echo $((40 + 2)) is it")
wait_for("42 is it")
# Ctrl-C reaches the program on the other host alone.
line("echo sleep''ing; sleep 1000; echo over")
wait_for("sleeping")
time.sleep(0.5)
os.write(fd, b"\x03")
line("echo still''here")
wait_for("stillhere")
line("exit 0")
_, status = os.waitpid(pid, 0)
print("status", os.waitstatus_to_exitcode(status))
"#;

#[test]
fn an_interactive_program_has_its_terminal_on_another_host() {
    let _host = Host::new();
    let shell = "EXEC:bash --norc --noprofile,pty,stderr,setsid,ctty,sane";
    let _server = Server::new(&["socat", "TCP-LISTEN:2222,fork,reuseaddr", shell], 2222);
    let output = command(["python3", "-c", REMOTE, ADIT, V4]).output().unwrap();
    assert_eq!(text(&output.stdout), "status 0\n", "{}", text(&output.stderr));
}
