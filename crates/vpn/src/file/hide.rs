//! Keeps keys out of what is printed of a configuration.

use crate::file::keys::Key;
use adit_service::config::problem::Problem;
use adit_tunnel::PublicKey;

/// This many characters of base64 in a row may be a part of a key, which has 43 and a `=`: lines break
/// anywhere. The longest setting of a file has 19.
const SECRET_LEN_MIN: usize = 20;

/// Replaces keys by stars in the message and in the line that is shown; all columns stay where they are.
pub fn hide_secrets(problem: &mut Problem) {
    problem.message = hidden(&problem.message, false);
    let line = std::mem::take(&mut problem.excerpt);
    problem.excerpt = match line.split_once('=') {
        Some((name, value)) => {
            let end = value.find('#').unwrap_or(value.len());
            let (value, comment) = value.split_at(end);
            let value = hidden(value, is_secret(name));
            format!("{}={value}{}", hidden(name, false), hidden(comment, false))
        }
        None => hidden(&line, false),
    };
}

/// Words in the name of a setting whose value is hidden in a report: secrets, and commands that may hold some.
const HIDDEN_WORDS: [&str; 15] = [
    "priv", "shared", "psk", "secret", "token", "pass", "key", "auth", "cookie", "cred", "preup",
    "postup", "predown", "postdown", "command",
];

/// Names of settings whose value is hidden for the same reason.
const HIDDEN_NAMES: [&str; 3] = ["run", "exec", "env"];

/// Names with such a word whose value is shown.
const SHOWN_NAMES: [&str; 4] = ["publickey", "public_key", "keepalive", "persistentkeepalive"];

/// The text of a configuration file for a report: without comments, secrets, commands and whatever may be a key.
/// A part that is not understood is hidden.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    // What ends the value of several lines that is hidden.
    let mut until: Option<&str> = None;
    let mut is_hooks = false;
    for line in text.lines() {
        if let Some(end) = until {
            shown.push_str("***\n");
            until = Some(end).filter(|end| !line.contains(end));
            continue;
        }
        let line = line.split(['#', ';']).next().unwrap_or_default().trim_end();
        if line.trim_start().starts_with('[') {
            is_hooks = line.to_ascii_lowercase().contains("hooks");
        }
        match secret_start(line).or_else(|| line.find('=').filter(|_| is_hooks)) {
            None => shown.push_str(&hidden(line, false)),
            Some(at) => {
                let (name, value) = line.split_at(at);
                shown.push_str(&hidden(name, false));
                shown.push_str("= ***");
                until = continues(value.trim_start_matches('=').trim_start());
            }
        }
        shown.push('\n');
    }
    shown
}

/// Where the `=` before the first value of a line is that must be hidden.
fn secret_start(line: &str) -> Option<usize> {
    let mut from = 0;
    for (at, _) in line.match_indices('=') {
        let name = line.get(from..at)?.to_ascii_lowercase();
        let name = name.trim_end().trim_end_matches(['"', '\'']);
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let word = name.rsplit(|c| !is_of_name(c)).next().unwrap_or_default();
        let is_shown = SHOWN_NAMES.contains(&word) || word.ends_with("_file");
        let is_hidden =
            HIDDEN_NAMES.contains(&word) || HIDDEN_WORDS.iter().any(|hidden| word.contains(hidden));
        if is_hidden && !is_shown {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// What ends a value of TOML that goes on in the next line.
fn continues(value: &str) -> Option<&'static str> {
    for (open, close) in [("\"\"\"", "\"\"\""), ("'''", "'''"), ("[", "]"), ("{", "}")] {
        if let Some(rest) = value.strip_prefix(open) {
            return (!rest.contains(close)).then_some(close);
        }
    }
    // A value that ends with a backslash, or does not end.
    let quotes = value.matches('"').count();
    (quotes % 2 == 1).then_some("\"")
}

/// Whether the value of a setting is a secret, also if it is no key or its name has a mistake. The name of
/// a file is not.
fn is_secret(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    !name.ends_with("file") && ["priv", "shared", "psk"].iter().any(|word| name.contains(word))
}

/// `text` with stars for each word of base64 that may be a key, or for `all`.
fn hidden(text: &str, all: bool) -> String {
    let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_a_key(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if all || may_be_key(word) {
            out.extend(std::iter::repeat_n('*', word.len()));
        } else {
            out.push_str(word);
        }
        let next = after.find(is_of_a_key).unwrap_or(after.len());
        let (between, after) = after.split_at(next);
        out.push_str(between);
        rest = after;
    }
    out
}

fn may_be_key(word: &str) -> bool {
    let is_key = || PublicKey::from_base64(&format!("{word}=")).is_ok();
    word.len() >= SECRET_LEN_MIN && (!may_be_path(word) || is_key())
}

/// Whether a word of base64 looks like a path: absolute with a folder, or without capitals and digits. Of
/// random words as long as half a key, 1 in 200 does.
pub(crate) fn may_be_path(word: &str) -> bool {
    let is_absolute =
        word.starts_with('/') && word.bytes().filter(|byte| *byte == b'/').count() > 1;
    let is_small = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'/');
    is_absolute || is_small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_no_secret() {
        let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        let file = format!(
            "# password of the site: hunter2\n[Interface]\nPrivateKey = {key}\nListenPort = 51820 # {key}\n\
             PostUp = curl -u me:hunter2 https://x\n[Peer]\nPresharedKey={key}\nAllowedIPs = 10.0.0.0/8\n\
             Endpoint = vpn.example:51820\nPersistentKeepalive = 25\nSecretThing = hunter2\n\
             [host.web]\naddress = \"10.0.0.1/24\"\nprograms = {{ web = {{ port = 80, password = \"hunter2\" }} }}\n\
             command = [\n  \"sh\",\n  \"hunter2\",\n]\nmtu = 1400\ntoken = \"\"\"\nhunter2\n\"\"\"\nrate = \"1mbit\"\n\
             [hooks]\nconnected = \"hunter2\"\n[x]\nother = \"{key}\"\nprivate_key_file = \"/etc/adit/k\"\n"
        );
        let shown = without_secrets(&file);
        assert!(!shown.contains("hunter2") && !shown.contains(&key[..20]), "{shown}");
        for kept in [
            "[Interface]",
            "ListenPort = 51820",
            "AllowedIPs = 10.0.0.0/8",
            "Endpoint = vpn.example:51820",
            "PersistentKeepalive = 25",
            "address = \"10.0.0.1/24\"",
            "mtu = 1400",
            "rate = \"1mbit\"",
            "[hooks]",
            "private_key_file = \"/etc/adit/k\"",
            "programs = { web = { port = 80, password = ***",
        ] {
            assert!(shown.lines().any(|line| line == kept), "{kept}: {shown}");
        }
        assert_eq!(shown.lines().count(), file.lines().count());
    }

    #[test]
    fn a_key_is_hidden_wherever_it_is() {
        let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk";
        let stars = "*".repeat(43);
        let shown = |line: &str| {
            let mut problem = Problem {
                file: String::new(),
                line: 1,
                column: 1,
                message: format!("'{key}' is wrong"),
                help: None,
                excerpt: line.to_owned(),
                width: 1,
            };
            hide_secrets(&mut problem);
            assert_eq!(problem.message, format!("'{stars}' is wrong"));
            problem.excerpt
        };
        assert_eq!(shown(&format!("Private = {key}=")), format!("Private = {stars}="));
        assert_eq!(shown(&format!("{key}=")), format!("{stars}="));
        assert_eq!(shown("private_key = \"abc\" # a"), "private_key = \"***\" # a");
        assert_eq!(shown(&format!("Key = {}", &key[..22])), format!("Key = {}", &stars[..22]));
        for path in ["/etc/wireguard/Keys/of/1/long/site/key", "keys/of/the/long/names/site"] {
            let line = format!("private_key_file = \"{path}\" # mine");
            assert_eq!(shown(&line), line);
        }
        assert_eq!(shown("PresharedKey=ab+c=d"), "PresharedKey=****=*");
        assert_eq!(shown("Endpoint = host.example:1"), "Endpoint = host.example:1");
        assert_eq!(shown("büro"), "büro");
    }
}
