//! The package for Python.

use crate::support::{ADIT, command, enter, root, text};

#[test]
fn a_lab_is_driven_from_python() {
    enter();
    let script = root().join("python/tests/lab_test.py");
    let mut python = command(["python3", "-B", script.to_str().unwrap()]);
    python.env("PYTHONPATH", root().join("python")).env("ADIT", ADIT).env("SCRATCH", "/run");
    let done = python.output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
}
