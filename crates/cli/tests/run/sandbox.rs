//! What adit itself may do while a command runs.

use crate::support::{ADIT, command, text};

/// `adit run` as a user without privilege, with this level; the command prints its parent's state.
fn run(level: &str, variables: &[&str], script: &str) -> std::process::Output {
    let mut words = vec!["unshare", "-U", "--map-user=4711", "--map-group=4712", "env"];
    words.extend(variables);
    words.extend([ADIT, "run", "--net", "none", "--sandbox", level, "--", "sh", "-c", script]);
    command(words).output().unwrap()
}

#[test]
fn a_forbidden_call_kills() {
    let killed = run("require", &["ADIT_FAILPOINT=sandbox"], "echo ran");
    // SIGSYS is signal 31; nothing was started.
    assert_eq!(text(&killed.stdout), "", "{}", text(&killed.stderr));
    assert_eq!(
        killed.status.code().or(std::os::unix::process::ExitStatusExt::signal(&killed.status)),
        Some(31)
    );
    let off = run("off", &["ADIT_FAILPOINT=sandbox"], "echo ran");
    assert_eq!(text(&off.stdout), "ran\n", "{}", text(&off.stderr));
}

#[test]
fn a_run_needs_nothing_that_the_sandbox_takes() {
    let script = "sleep 0.1; echo ran; exit 3";
    let output = run("require", &[], script);
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("ran\n", Some(3)),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_process_on_the_host_has_nothing_left() {
    // From outside, while the command runs: capabilities, seccomp, files, and what the user can look at.
    let script = r#"
        "$0" run --net none --sandbox require -- sh -c 'echo up; exec sleep 1000' >/tmp/up &
        adit=$!
        until grep -q up /tmp/up; do sleep 0.05; done
        grep -E 'CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/$adit/status | tr -s '\t\n' ' '
        echo
        ls -A /proc/$adit/root
        kill -9 $adit
    "#;
    let script = format!("mount -t tmpfs none /tmp; {script}");
    let output = command(["unshare", "-m", "sh", "-c", &script, ADIT]).output().unwrap();
    let none = "0000000000000000";
    assert_eq!(
        text(&output.stdout),
        format!("CapPrm: {none} CapEff: {none} CapBnd: {none} NoNewPrivs: 1 Seccomp: 2 \n"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn where_mounts_are_refused_the_rest_holds_and_it_is_said_once() {
    // No further mount namespace for this process: the limit of the user namespace is reached after the
    // command's own.
    let script = "echo 1 >/proc/sys/user/max_mnt_namespaces; exec \"$0\" run --net none --sandbox \"$1\" -- \
                  sh -c 'echo ran'";
    let try_it =
        |level| command(["unshare", "-Ur", "sh", "-c", script, ADIT, level]).output().unwrap();
    let tried = try_it("try");
    let error = text(&tried.stderr);
    assert_eq!(text(&tried.stdout), "ran\n", "{error}");
    assert_eq!(
        error.matches("the sandbox is without an empty mount namespace").count(),
        1,
        "{error}"
    );
    assert!(!error.contains("seccomp") && !error.contains("Landlock"), "{error}");
    let required = try_it("require");
    assert_eq!((text(&required.stdout).as_str(), required.status.code()), ("", Some(7)));
    assert!(text(&required.stderr).contains("ADIT-E0832"), "{}", text(&required.stderr));
}
