//! Keeps keys out of what is printed of a configuration's problems.

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
