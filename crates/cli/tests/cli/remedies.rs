//! Remedies that are commands, run in the state that produced them.

use crate::support::{ADIT, command, enter, parse, run, text};

/// A command that fails, and what must follow: its remedies make it succeed, or succeed themselves.
enum Then {
    /// The first remedy lets the failed command succeed.
    Succeeds,
    /// Each remedy succeeds, as a list or another step.
    Runs,
}
use Then::{Runs, Succeeds};

/// What was done before, the command that fails, and what its remedies do.
const CASES: &[(&[&str], &str, Then)] = &[
    (&[], "dev show nosuch", Succeeds),
    (&[], "dev set tun5 --mtu 1300", Succeeds),
    (&[], "capture nosuch --count 1 --for 10ms", Runs),
    (&["dev add t0 --mode tun"], "dev set t0 --add-route 198.51.100.0/24", Succeeds),
    (&["dev add t0 --mode tun --mtu 1000"], "dev set t0 --add-addr 2001:db8::1/64", Succeeds),
    (&["dev add t0 --mode tun"], "dev add t0 --mode tap", Succeeds),
    (&["dev add t0 --mode tun"], "netem --port tap:t0 --port tap:b", Runs),
    (&["dev add t0 --mode tun"], "capture t0 --reply --for 10ms", Succeeds),
    (&[], "switch show", Runs),
    (&[], "netem show nosuch", Runs),
    (&[], "tunnel show nosuch", Runs),
    (&[], "switch --port dev:nosuch --port tap:b", Runs),
    (&[], "explain E9999", Runs),
    (&[], "schema nosuch", Runs),
    (&["dev add t0 --mode tun"], "dev set t0 --name lo", Runs),
    (&[], "-n nosuch dev show", Runs),
    (&["dev add t0 --mode tun"], "dev set t0 --master br9", Runs),
];

/// Runs a command line of `sh`; status and standard error.
fn shell(line: &str) -> (bool, String) {
    let output = command(["sh", "-c", line]).output().unwrap();
    (output.status.success(), text(&output.stderr))
}

/// The commands in a remedy: between backticks or single quotes, and beginning with a program.
fn commands(hint: &str) -> Vec<String> {
    let quoted = |mark: char| hint.split(mark).skip(1).step_by(2).map(str::to_owned);
    quoted('`')
        .chain(quoted('\''))
        .filter(|words| {
            ["adit ", "ip ", "lsns ", "ss ", "chmod ", "chown "]
                .iter()
                .any(|start| words.starts_with(start))
        })
        .map(|words| words.replace("BRIDGE", "br9"))
        .collect()
}

#[test]
fn remedies_are_commands_that_work() {
    let mut wrong = Vec::new();
    for (before, failing, then) in CASES {
        let case = std::thread::spawn(move || {
            enter();
            for line in *before {
                run(&format!("{ADIT} {line}"));
            }
            let words = [ADIT, "-j"].into_iter().chain(failing.split(' '));
            let output = command(words).output().unwrap();
            assert!(!output.status.success(), "{failing}");
            let errors = text(&output.stderr);
            let report = parse(errors.lines().last().unwrap());
            let hint = report["hint"].as_str().unwrap_or_default();
            let remedies = commands(hint);
            assert!(!remedies.is_empty(), "{failing}: no command in its remedy: {hint}");
            for remedy in &remedies {
                let line = remedy.replacen("adit ", &format!("{ADIT} "), 1);
                let (ok, errors) = shell(&line);
                assert!(ok, "{failing}: the remedy {remedy} fails: {errors}");
            }
            if matches!(then, Succeeds) {
                let (ok, errors) = shell(&format!("{ADIT} {failing}"));
                assert!(ok, "{failing} still fails after {remedies:?}: {errors}");
            }
        });
        if case.join().is_err() {
            wrong.push(failing);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn mistakes_say_what_to_do() {
    enter();
    run(&format!("{ADIT} tunnel invite /run/site.conf --endpoint 192.0.2.1"));
    let cases = [
        ("netem --port tap:a --port tap:a", 2, "both ports are 'tap:a'"),
        ("capture lo -w /nosuch/x", 4, "Create the directory first"),
        ("switch --port tap:z --mirror /nosuch/x", 4, "Create the directory first"),
        ("netem preview --svg /nosuch/x.svg", 4, "Check the path"),
        ("tunnel up /nosuch.conf", 4, "Check the path"),
        ("capture tun0 --create --reply", 2, "--addr 192.0.2.1/24"),
    ];
    for (line, status, part) in cases {
        let (exit, errors) = crate::support::refused(line);
        assert!(exit == status && errors.contains(part), "{line}: {exit}: {errors}");
    }
    // Two ports of one name are two where they are in two namespaces.
    run(&format!("{ADIT} netem --port tap:a,netns=x --port tap:a,netns=y --dry-run"));
    // An invitation never overwrites a file.
    let join = format!(
        "{ADIT} tunnel invite /run/site.conf --endpoint 192.0.2.1 | {ADIT} tunnel join --to /run/site.conf"
    );
    let (ok, errors) = shell(&join);
    assert!(!ok && errors.contains("--to FILE"), "{errors}");
}

/// A tunnel's file.
fn tunnel_file(path: &str, interface: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let key = run(&format!("{ADIT} tunnel genkey"));
    let text = format!("[Interface]\nPrivateKey = {key}Address = 10.9.0.1/24\n{interface}\n");
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// The commands in the remedy of a command that fails.
fn remedies_of(line: &str) -> Vec<String> {
    let output = command([ADIT, "-j"].into_iter().chain(line.split(' '))).output().unwrap();
    assert!(!output.status.success(), "{line}");
    let errors = text(&output.stderr);
    let report = parse(errors.lines().last().unwrap());
    commands(report["hint"].as_str().unwrap_or_default())
}

fn run_remedy(remedy: &str) {
    let (ok, errors) = shell(&remedy.replacen("adit ", &format!("{ADIT} "), 1));
    assert!(ok, "the remedy {remedy} fails: {errors}");
}

#[test]
fn remedies_of_tunnels_work() {
    enter();
    let check = "tunnel check /run/site.conf";
    tunnel_file("/run/site.conf", "", 0o644);
    let chmod = remedies_of(check);
    assert_eq!(chmod, ["chmod 600 /run/site.conf"]);
    run_remedy(&chmod[0]);
    run(&format!("{ADIT} {check}"));

    tunnel_file("/run/site.conf", "Adress = 10.9.0.2/24", 0o600);
    let again = remedies_of(check);
    assert_eq!(again, ["adit check /run/site.conf"]);
    tunnel_file("/run/site.conf", "", 0o600);
    run_remedy(&again[0]);

    std::fs::write("/run/bare.conf", "[Interface]\nAddress = 10.9.0.1/24\n").unwrap();
    let key = remedies_of("tunnel check /run/bare.conf");
    assert_eq!(key, ["adit tunnel genkey"]);
    run_remedy(&key[0]);

    tunnel_file("/run/hook.conf", "PostUp = true", 0o600);
    let (_, errors) = shell(&format!("{ADIT} tunnel check /run/hook.conf"));
    assert!(errors.contains("--hooks run") && errors.contains("--hooks skip"), "{errors}");
    for policy in ["run", "skip"] {
        run(&format!("{ADIT} tunnel check --hooks {policy} /run/hook.conf"));
    }

    // An invitation: where is the port, how is the tunnel started?
    let invite = "tunnel invite /run/site.conf --endpoint 192.0.2.1";
    let (ok, errors) = shell(&format!("{ADIT} {invite}"));
    assert!(!ok && errors.contains("--endpoint HOST:PORT"), "{errors}");
    let (ok, errors) = shell(&format!("{ADIT} {invite}:51820 --wg"));
    assert!(ok, "{errors}");
    let start = errors.lines().find_map(|line| line.strip_prefix("start the tunnel: ")).unwrap();
    assert_eq!(start, "adit tunnel up --detach /run/site.conf");
    run_remedy(start);

    // Its port is taken.
    let port = crate::support::adit_json("tunnel show site")[0]["listen_port"].to_string();
    tunnel_file("/run/other.conf", &format!("ListenPort = {port}"), 0o600);
    let shown = remedies_of("tunnel up /run/other.conf");
    assert_eq!(shown, ["ss -tulpn"]);
    run_remedy(&shown[0]);
    // The name is taken: `up` says by whom.
    assert_eq!(crate::support::refused("tunnel up /run/site.conf").0, 5);
    run(&format!("{ADIT} tunnel down site"));
}
