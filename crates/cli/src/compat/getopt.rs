//! Command lines as `getopt_long` of the GNU C library reads them, with its messages.
//!
//! Options and operands come in any order, or the first operand ends the options; so does `--`. `--mtu 1500` is
//! `--mtu=1500`, `-r3` is `-r 3`, and a long option may be cut as far as no other begins the same.

/// An option that a program knows.
#[derive(Debug)]
pub(super) struct Known {
    /// Its long name, without dashes.
    pub(super) long: &'static str,
    /// Its short name.
    pub(super) short: Option<char>,
    /// It has a value.
    pub(super) has_value: bool,
}

impl Known {
    /// An option without a value.
    pub(super) const fn flag(long: &'static str, short: Option<char>) -> Self {
        Self { long, short, has_value: false }
    }

    /// An option with a value.
    pub(super) const fn value(long: &'static str, short: Option<char>) -> Self {
        Self { long, short, has_value: true }
    }
}

/// A command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The long names of the options, in order, with their values.
    pub(super) options: Vec<(&'static str, &'a str)>,
    /// What is no option.
    pub(super) operands: Vec<&'a str>,
}

/// Where operands may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operands {
    /// Between options as well.
    Anywhere,
    /// Behind all options: what follows the first is a command.
    Last,
}

/// Reads the words after the program's name.
///
/// # Errors
/// The message without the program's name: `unrecognized option '--x'`.
pub(super) fn read<'a>(
    known: &'static [Known],
    operands: Operands,
    words: &'a [String],
) -> Result<Line<'a>, String> {
    let mut line = Line::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--" {
            line.operands.extend(words);
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            line.options.push(read_long(known, long, &mut words)?);
        } else if let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            read_short(known, cluster, &mut words, &mut line)?;
        } else {
            line.operands.push(word);
            if operands == Operands::Last {
                line.operands.extend(words);
                break;
            }
        }
    }
    Ok(line)
}

fn read_long<'a>(
    known: &'static [Known],
    text: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<(&'static str, &'a str), String> {
    let (name, joined) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let mut begun = known.iter().filter(|one| one.long.starts_with(name));
    let option = match known.iter().find(|one| one.long == name).or_else(|| begun.next()) {
        Some(option) if option.long == name || begun.next().is_none() => option,
        Some(_) => return Err(format!("option '--{name}' is ambiguous")),
        None => return Err(format!("unrecognized option '--{name}'")),
    };
    let long = option.long;
    match (option.has_value, joined) {
        (false, None) => Ok((long, "")),
        (false, Some(_)) => Err(format!("option '--{long}' doesn't allow an argument")),
        (true, Some(value)) => Ok((long, value)),
        (true, None) => match words.next() {
            Some(value) => Ok((long, value)),
            None => Err(format!("option '--{long}' requires an argument")),
        },
    }
}

fn read_short<'a>(
    known: &'static [Known],
    cluster: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    line: &mut Line<'a>,
) -> Result<(), String> {
    for (at, letter) in cluster.char_indices() {
        let option = known.iter().find(|one| one.short == Some(letter));
        let option = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
        if !option.has_value {
            line.options.push((option.long, ""));
            continue;
        }
        let rest = cluster.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
        let value = rest.or_else(|| words.next());
        let value = value.ok_or_else(|| format!("option requires an argument -- '{letter}'"))?;
        line.options.push((option.long, value));
        break;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: &[Known] = &[
        Known::flag("configure", Some('c')),
        Known::value("mtu", Some('m')),
        Known::value("outbound-addr", None),
        Known::value("outbound-addr6", None),
        Known::flag("enable-sandbox", None),
        Known::flag("enable-seccomp", None),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_as_getopt_reads_them() {
        let line = words("-cm1500 PID --mtu=9 --outbound-addr 1.2.3.4 -m 7 --conf tap0 -- -c");
        let line = read(KNOWN, Operands::Anywhere, &line).unwrap();
        let options = [
            ("configure", ""),
            ("mtu", "1500"),
            ("mtu", "9"),
            ("outbound-addr", "1.2.3.4"),
            ("mtu", "7"),
            ("configure", ""),
        ];
        assert_eq!(line.options, options);
        assert_eq!(line.operands, ["PID", "tap0", "-c"]);
        let command = words("-c sh -c x");
        let line = read(KNOWN, Operands::Last, &command).unwrap();
        assert_eq!((line.options, line.operands), (vec![("configure", "")], vec!["sh", "-c", "x"]));
        for (text, error) in [
            ("--bogus", "unrecognized option '--bogus'"),
            ("--bogus=1", "unrecognized option '--bogus'"),
            ("--mtu", "option '--mtu' requires an argument"),
            ("-c -m", "option requires an argument -- 'm'"),
            ("-cq", "invalid option -- 'q'"),
            ("--enable-s", "option '--enable-s' is ambiguous"),
            ("--configure=1", "option '--configure' doesn't allow an argument"),
        ] {
            let line = words(text);
            let read = read(KNOWN, Operands::Anywhere, &line);
            assert_eq!(read, Err(error.to_owned()), "{text}");
        }
    }
}
