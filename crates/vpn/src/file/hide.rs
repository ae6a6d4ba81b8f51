//! Keeps keys out of what is told of a configuration's mistakes.

use adit_service::config::problem::Problem;

/// As many characters of base64 in a row may be a key; the longest setting of a file has 19.
const SECRET_LEN_MIN: usize = 20;

/// Makes what may be a key unreadable in what is told and in the line that is shown, however its
/// setting is called; all columns stay where they are.
pub fn hide_secrets(problem: &mut Problem) {
    problem.message = hidden(&problem.message, false);
    let line = std::mem::take(&mut problem.excerpt);
    let name = line.split('=').next().unwrap_or_default().to_ascii_lowercase();
    // After such a name even a part of a key is one.
    let secret = ["priv", "shared", "psk"].iter().any(|word| name.contains(word));
    problem.excerpt = match line.split_once('=') {
        Some((name, value)) => format!("{}={}", hidden(name, false), hidden(value, secret)),
        None => hidden(&line, false),
    };
}

/// `text` with stars for each word of base64 that is long enough for a key, or for `all`.
fn hidden(text: &str, all: bool) -> String {
    let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_a_key(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.len() >= SECRET_LEN_MIN || all {
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
        assert_eq!(shown("private_key = \"abc\""), "private_key = \"***\"");
        assert_eq!(shown("PresharedKey=ab+c=d"), "PresharedKey=****=*");
        assert_eq!(shown("Endpoint = host.example:1"), "Endpoint = host.example:1");
        assert_eq!(shown("büro"), "büro");
    }
}
