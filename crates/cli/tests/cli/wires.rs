//! What carries the frames between a switch and its hosts: TAPs, or cables whose frames the kernel forwards.
//!
//! With `ADIT_WIRES=kernel` in the environment, the hosts of a switch have veths in place of TAPs, their other ends are
//! ports `dev:`, and the switch must let the kernel forward between them. It needs the initial user namespace.

use std::process::Command;

/// Whether the kernel forwards.
pub(crate) fn are_in_kernel() -> bool {
    std::env::var("ADIT_WIRES").is_ok_and(|wires| wires == "kernel")
}

/// Appends what a switch must be started with.
pub(crate) fn add_words(words: &mut Vec<String>) {
    if are_in_kernel() {
        words.extend(["--accelerate", "require"].map(str::to_owned));
    }
}

/// The words of a command with cables for the TAPs in named namespaces, if it is a switch and the kernel forwards.
pub(crate) fn rewired(words: &[&str]) -> Vec<String> {
    let mut rewired: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    if are_in_kernel() && words.contains(&"switch") && !words.contains(&"--accelerate") {
        for word in &mut rewired {
            if let Some(cable) = cable(word) {
                *word = cable;
            }
        }
        add_words(&mut rewired);
    }
    rewired
}

/// `tap:a,netns=na,KEYS` becomes `dev:cable-a,name=tap:a,KEYS`, with the other end where the TAP would be.
fn cable(port: &str) -> Option<String> {
    let (name, keys) = port.strip_prefix("tap:")?.split_once(',')?;
    let mut others = Vec::new();
    let mut netns = None;
    for key in keys.split(',') {
        match key.strip_prefix("netns=") {
            Some(name) => netns = Some(name),
            None => others.push(format!(",{key}")),
        }
    }
    let here = format!("cable-{name}");
    ip(&format!("link add name {here} type veth peer name {name} netns {}", netns?));
    ip(&format!("link set dev {here} up"));
    Some(format!("dev:{here},name=tap:{name}{}", others.concat()))
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
}
