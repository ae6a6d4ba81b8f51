//! Which packets are lost, packet by packet.

use alloc::format;
use alloc::vec::Vec;

use super::file::{self, ParseError, quoted};

/// A list of packets, each lost or not, repeated when it ends (as `KauNet` has it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossPattern {
    /// Whether each packet is lost; at least one.
    lost: Vec<bool>,
}

impl LossPattern {
    /// An hour at 1000 packets a second and more.
    pub const LEN_MAX: usize = 1 << 22;

    /// The pattern of these packets, `true` for lost.
    ///
    /// # Errors
    ///
    /// If there are none or more than [`Self::LEN_MAX`].
    pub fn new(lost: Vec<bool>) -> Result<Self, ParseError> {
        if lost.is_empty() {
            return Err(ParseError::whole("no packets"));
        }
        if lost.len() > Self::LEN_MAX {
            return Err(ParseError::whole(format!("more than {} packets", Self::LEN_MAX)));
        }
        Ok(Self { lost })
    }

    /// Reads a pattern: `.` is a packet that passes, `x` one that is lost; `99*.` is 99 that pass and
    /// `3*x` three that are lost. Spaces and line ends do not matter; `#` starts a comment.
    ///
    /// # Errors
    ///
    /// The first line with something else; or as [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        file::check_len(text)?;
        let mut lost = Vec::new();
        for (number, line) in file::lines(text) {
            for word in line.split_whitespace() {
                let (times, packets) = match word.split_once('*') {
                    None => (Some(1), word),
                    Some((times, packets)) => (times.parse::<usize>().ok(), packets),
                };
                let known = packets.bytes().all(|byte| byte == b'.' || byte == b'x');
                let Some(times) = times.filter(|_| known && !packets.is_empty()) else {
                    let what = "expected . and x, or a count such as 99*.";
                    return Err(ParseError::new(number, format!("{}: {what}", quoted(word))));
                };
                let len =
                    times.checked_mul(packets.len()).and_then(|new| new.checked_add(lost.len()));
                if len.is_none_or(|len| len > Self::LEN_MAX) {
                    let problem = format!("more than {} packets", Self::LEN_MAX);
                    return Err(ParseError::new(number, problem));
                }
                for _ in 0..times {
                    lost.extend(packets.bytes().map(|byte| byte == b'x'));
                }
            }
        }
        Self::new(lost)
    }

    /// How many packets there are before it repeats.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.lost.len()
    }

    /// How many of them are lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost.iter().filter(|&&lost| lost).count()
    }

    /// Whether that packet of the pattern, counted from 0, is lost.
    pub(super) fn is_lost(&self, index: usize) -> bool {
        self.lost.get(index).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_in_both_forms() {
        let short = LossPattern::parse("3*. x # one in four\n2*.x").unwrap();
        let long = LossPattern::parse("...x\n.x.x").unwrap();
        assert_eq!(short, long);
        assert_eq!((short.len(), short.lost()), (8, 3));
    }

    #[test]
    fn an_error_has_its_line() {
        for (text, line) in [
            ("...\n..y", 2),
            ("*.", 1),
            ("3*", 1),
            ("-1*.", 1),
            ("1*1*.", 1),
            ("4194304*.\n.", 2),
            ("18446744073709551615*..", 1),
            ("", 0),
            ("0*.", 0),
        ] {
            assert_eq!(LossPattern::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
