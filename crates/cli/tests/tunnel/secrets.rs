//! Keys stay in the memory of a tunnel, and nobody but root can look there.

use crate::support::{ADIT, adit, bare, command, run, text};
use crate::world::{Running, Space, World, wait_for};
use std::path::Path;

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// How often a half of a key, and of its text, stands in a file.
fn hits(file: &Path, key: &str) -> [u32; 2] {
    const SCRIPT: &str = "
import base64, sys
data, text = open(sys.argv[1], 'rb').read(), sys.argv[2].encode()
raw = base64.b64decode(text)
print(data.count(raw[:16]) + data.count(raw[16:]), data.count(text[:22]) + data.count(text[22:]))
";
    let file = file.display().to_string();
    let output = command(["python3", "-c", SCRIPT, &file, key]).output().unwrap();
    let told = text(&output.stdout);
    let (raw, text) = told.trim().split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    [raw.parse().unwrap(), text.parse().unwrap()]
}

/// Dumps a process as root's gcore does, after these settings of gdb.
fn dump(of: &Running, into: &Path, settings: &[&str]) {
    let pid = of.pid().to_string();
    let gcore = format!("gcore {}", into.display());
    let mut words = vec!["gdb", "-nx", "-batch", "-readnever", "-p", &pid];
    settings.iter().chain([&gcore.as_str()]).for_each(|line| words.extend(["-ex", line]));
    let output = command(words).output().unwrap();
    assert!(into.exists(), "{output:?}");
}

/// How many bytes of memory that can be written to are in a core file: ELF-64, `PT_LOAD` with `PF_W`.
fn writable_in(core: &Path) -> u64 {
    let core = std::fs::read(core).unwrap();
    let number = |at: usize, len: usize| -> u64 {
        core[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (at, count) = (usize::try_from(number(32, 8)).unwrap(), number(56, 2));
    let size = usize::try_from(number(54, 2)).unwrap();
    let headers = (0..usize::try_from(count).unwrap()).map(|index| at + index * size);
    let loads = headers.filter(|at| number(*at, 4) == 1 && number(at + 4, 4) & 2 != 0);
    loads.map(|at| number(at + 32, 8)).sum()
}

/// A core file that root makes of a tunnel with a session has no key of it, for it has no memory.
#[test]
fn a_core_file_has_no_key_in_it() {
    let world = World::new();
    let shared = adit("tunnel genpsk").trim().to_owned();
    let psk = format!("PresharedKey = {shared}");
    let (a, b) = world.pair("192.0.2.2:51820", [("", psk.as_str()), ("", psk.as_str())]);
    let (ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let file = std::fs::read_to_string(&a).unwrap();
    let private = file.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    // What there would be to find, were its memory in it.
    let [whole, core] = ["whole", "core"].map(|name| world.folder.join(name));
    dump(&ta, &whole, &["set use-coredump-filter off", "set dump-excluded-mappings on"]);
    for key in [private, &shared] {
        let [raw, text] = hits(&whole, key);
        assert!(raw > 0 && text == 0, "what was read is wiped: {raw} {text}");
    }
    dump(&ta, &core, &[]);
    assert_eq!((hits(&core, private), hits(&core, &shared)), ([0, 0], [0, 0]));
    assert!(writable_in(&whole) > 1 << 20);
    assert_eq!(writable_in(&core), 0, "session keys are nowhere else");
    reaches(&world.a, "10.9.0.2");
}

/// The pages on which keys are do not get to a swap device, and would be left out of a core file: of all memory
/// that was allocated, on no other page stands a key.
#[test]
fn keys_are_on_locked_pages() {
    const SCRIPT: &str = "
import base64, re, sys
pid, keys = sys.argv[1], [base64.b64decode(key) for key in sys.argv[2:]]
areas, memory = [], open(f'/proc/{pid}/mem', 'rb')
for line in open(f'/proc/{pid}/smaps'):
    head = re.match('([0-9a-f]+)-([0-9a-f]+) (....) .{6,} .*? *([^ ]*)$', line)
    if head:
        areas.append([int(head[1], 16), int(head[2], 16), head[3], head[4].strip(), []])
    elif line.startswith('VmFlags:'):
        areas[-1][4] = line.split()[1:]
for start, end, rights, name, flags in areas:
    if rights[1] != 'w' or name != '[heap]':
        continue
    memory.seek(start)
    found = memory.read(end - start)
    for number, key in enumerate(keys):
        for _ in range(found.count(key)):
            print(number, 'lo' in flags and 'dd' in flags, name)
";
    let world = World::new();
    let shared = adit("tunnel genpsk").trim().to_owned();
    let psk = format!("PresharedKey = {shared}");
    let (a, b) = world.pair("192.0.2.2:51820", [("", psk.as_str()), ("", psk.as_str())]);
    let _tb = world.up(&world.b, &b, "");
    // All threads allocate from the one heap that has a name.
    let mut up = bare(ADIT);
    up.args(["-n", &world.a.path(), "tunnel", "up"]).arg(&a).env("MALLOC_ARENA_MAX", "1");
    let ta = Running(up.spawn().unwrap());
    reaches(&world.a, "10.9.0.2");
    let file = std::fs::read_to_string(&a).unwrap();
    let private = file.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    // With another preshared key as well, after a reload.
    let second = adit("tunnel genpsk").trim().to_owned();
    world.write("ta.conf", &file.replace(&shared, &second));
    adit("tunnel reload ta");
    let pid = ta.pid().to_string();
    let output = command(["python3", "-c", SCRIPT, &pid, private, &second]).output().unwrap();
    let found = text(&output.stdout);
    for key in ["0 ", "1 "] {
        assert!(found.lines().any(|line| line.starts_with(key)), "{output:?}");
    }
    assert!(found.lines().all(|line| line.contains("True")), "{found}");
}

/// Another user of the machine may neither ask nor change anything, nor read a key.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_another_user_is_refused_by_both_sockets() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let (ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let foreign = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all";
    let is_refused = |line: &str| {
        let output = command(foreign.split_whitespace().chain(line.split_whitespace())).output();
        let output = output.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{line}: {output:?}");
    };
    // By way of a folder that others may enter, should the program stand in one that they may not.
    let program = std::env::temp_dir().join(format!("adit-foreign-{}", std::process::id()));
    std::fs::copy(ADIT, &program).unwrap();
    let program_path = program.display().to_string();
    run(&format!("chmod 755 {program_path}"));
    for words in ["tunnel show ta", "tunnel reload ta", "tunnel down ta"] {
        is_refused(&format!("{program_path} {words}"));
    }
    is_refused("wg show ta private-key");
    is_refused("wg set ta listen-port 51999");
    for socket in ["/run/adit/ta.sock", "/run/wireguard/ta.sock"] {
        is_refused(&format!("socat -u OPEN:/dev/null UNIX-CONNECT:{socket}"));
    }
    for file in ["environ", "mem", "maps", "fd/0", "task"] {
        is_refused(&format!("head -c1 /proc/{}/{file}", ta.pid()));
    }
    is_refused(&format!("cat {}", a.display()));
    // Even if somebody opened the socket to all.
    run("chmod 0666 /run/adit/ta.sock");
    for words in ["tunnel show ta", "tunnel reload ta", "tunnel down ta"] {
        is_refused(&format!("{program_path} {words}"));
    }
    std::fs::remove_file(program).unwrap();
    reaches(&world.a, "10.9.0.2");
}

/// With everything logged, through a start, sessions, a reload, changes by `wg`, and a failure, no key that the
/// tunnel has is in the log in any form.
#[test]
fn no_key_is_in_the_log_at_any_level() {
    const FORMS: &str = "
import base64, sys
data = open(sys.argv[1], 'rb').read()
for text in sys.argv[2:]:
    raw = base64.b64decode(text)
    lists = [', '.join(str(byte) for byte in raw[:8]), ', '.join(str(byte) for byte in raw[8:16])]
    parts = [raw[:8], raw[8:16], text[:12].encode(), text[12:24].encode(), raw.hex()[:16].encode()]
    for part in parts + [raw.hex()[16:32].encode(), raw.hex()[:16].upper().encode()] + [one.encode() for one in lists]:
        if part in data:
            print(text, part)
print(len(data))
";
    let world = World::new();
    let [shared, second] = [0, 1].map(|_| adit("tunnel genpsk").trim().to_owned());
    let psk = format!("PresharedKey = {shared}");
    let (a, b) = world.pair("192.0.2.2:51820", [("", psk.as_str()), ("", psk.as_str())]);
    let everything = "-vvv --log trace --log-format json --hooks run";
    let log = world.folder.join("log");
    let into = std::fs::File::create(&log).unwrap();
    let mut command = bare(ADIT);
    command.args(["-n", &world.a.path(), "tunnel", "up"]).arg(&a);
    let _ta = Running(command.args(everything.split(' ')).stderr(into).spawn().unwrap());
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    let text = std::fs::read_to_string(&a).unwrap();
    let private = text.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    let peer = text.lines().find_map(|line| line.strip_prefix("PublicKey = ")).unwrap();
    let file = world.write("second.key", &second);
    world.a.run(&format!("wg set ta peer {peer} preshared-key {}", file.display()));
    world.a.run("wg show ta dump");
    world.write("ta.conf", &text.replace(&shared, &second));
    adit("tunnel reload ta");
    // A key that is wrong is an error about a key.
    world.write("ta.conf", &text.replace(private, &private[1..]));
    assert!(!adit_succeeds("tunnel reload ta"));
    adit("-v tunnel show ta");
    adit("tunnel down ta");
    let log = log.display().to_string();
    let found = text_of(&["python3", "-c", FORMS, &log, private, &shared, &second]);
    let len: usize =
        found.trim().parse().unwrap_or_else(|_| panic!("a key is in the log: {found}"));
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(len > 1000 && written.contains("\"target\":\"host\""), "{written}");
    assert!(written.contains("handshake with") && written.contains("reload failed"), "{written}");
}

fn adit_succeeds(line: &str) -> bool {
    command([ADIT].into_iter().chain(line.split(' '))).output().unwrap().status.success()
}

/// What a command prints.
fn text_of(words: &[&str]) -> String {
    let output = command(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}
