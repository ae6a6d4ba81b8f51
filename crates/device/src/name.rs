//! Interface names and indices, checked before the kernel sees them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

/// The maximum length of a name in bytes: the kernel's `IFNAMSIZ` less the NUL.
pub const NAME_LEN_MAX: usize = 15;

/// The index of an interface in its network namespace.
///
/// A rename does not change it; a move to another namespace may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(NonZeroU32);

impl IfIndex {
    /// The index; `None` for 0 and above `i32::MAX`, the kernel's limits.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if index > i32::MAX as u32 {
            return None;
        }
        match NonZeroU32::new(index) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }

    /// The number, 1 to `i32::MAX`.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an interface: 1 to 15 bytes without white space, `/` and `:`, and not `.` or `..`.
///
/// A name is bytes, not text: the kernel accepts names that are not UTF-8, and so does this type.
/// `Display` escapes unprintable characters. Source: `dev_valid_name` in Linux `net/core/dev.c`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    bytes: [u8; NAME_LEN_MAX],
    len: u8,
}

impl IfName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError`]: the rule that the name violates. A `%` is invalid here; see [`NamePattern`].
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self, NameError> {
        let name = name.as_ref().as_bytes();
        if name.contains(&b'%') {
            return Err(NameError::Percent);
        }
        Self::check(name)
    }

    /// Checks all rules but the one on `%`.
    fn check(name: &[u8]) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_LEN_MAX {
            return Err(NameError::TooLong { len: name.len() });
        }
        if name == b"." || name == b".." {
            return Err(NameError::Dots);
        }
        // The kernel's isspace() uses Latin-1, where 0xa0 is a space.
        let bad = |b: u8| b == b'/' || b == b':' || b == 0 || b == 0xa0 || matches!(b, 9..=13 | 32);
        if let Some(&byte) = name.iter().find(|&&b| bad(b)) {
            return Err(NameError::Byte { byte });
        }
        let mut bytes = [0; NAME_LEN_MAX];
        bytes[..name.len()].copy_from_slice(name);
        let len = u8::try_from(name.len()).expect("at most NAME_LEN_MAX, checked above");
        Ok(Self { bytes, len })
    }

    /// The bytes of the name, without NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name as an `OsStr`.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(self.as_bytes())
    }
}

impl AsRef<OsStr> for IfName {
    fn as_ref(&self) -> &OsStr {
        self.as_os_str()
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(NAME_LEN_MAX);
        for chunk in self.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
            }
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for IfName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

/// The name for a new device, or a pattern with one `%d`, which the kernel replaces with the first
/// free number: `tap%d` becomes `tap0`. Empty, it is the kernel's default, `tun%d` or `tap%d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamePattern(Option<IfName>);

impl NamePattern {
    /// The kernel's default: `tun%d` or `tap%d`.
    pub const KERNEL: Self = Self(None);

    /// Checks `pattern` like an [`IfName`], but allows one `%d`.
    ///
    /// # Errors
    /// [`NameError`]: the rule that the pattern violates.
    pub fn new(pattern: impl AsRef<OsStr>) -> Result<Self, NameError> {
        let bytes = pattern.as_ref().as_bytes();
        if bytes.is_empty() {
            return Ok(Self::KERNEL);
        }
        if let Some(at) = bytes.iter().position(|&b| b == b'%') {
            let rest = &bytes[at + 1..];
            if rest.first() != Some(&b'd') || rest.contains(&b'%') {
                return Err(NameError::Percent);
            }
        }
        IfName::check(bytes).map(|name| Self(Some(name)))
    }

    /// The name, if it is not a pattern.
    #[must_use]
    pub fn exact(&self) -> Option<IfName> {
        self.0.filter(|name| !name.as_bytes().contains(&b'%'))
    }

    /// The bytes for `ifr_name`; empty for [`NamePattern::KERNEL`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], IfName::as_bytes)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => name.fmt(f),
            None => f.pad("(any name)"),
        }
    }
}

impl From<IfName> for NamePattern {
    fn from(name: IfName) -> Self {
        Self(Some(name))
    }
}

impl FromStr for NamePattern {
    type Err = NameError;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        Self::new(pattern)
    }
}

/// The rule that a name violates. The kernel rejects all of them with EINVAL, or truncates the
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// Longer than 15 bytes; the kernel would silently truncate it.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// `.` or `..`.
    Dots,
    /// White space, `/`, `:` or NUL.
    Byte {
        /// The first invalid byte.
        byte: u8,
    },
    /// A `%` other than the one `%d` of a pattern.
    Percent,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::TooLong { len } => {
                write!(f, "the name has {len} bytes, more than the maximum of {NAME_LEN_MAX}")
            }
            Self::Dots => f.write_str("'.' and '..' are not valid interface names"),
            Self::Byte { byte: b' ' } => f.write_str("the name contains a space"),
            Self::Byte { byte } if byte.is_ascii_graphic() => {
                write!(f, "the name contains '{}'", char::from(*byte))
            }
            Self::Byte { byte } => write!(f, "the name contains the byte 0x{byte:02x}"),
            Self::Percent => {
                f.write_str("a name may contain '%' only once, as '%d', and only for a new device")
            }
        }
    }
}

impl std::error::Error for NameError {}

crate::wire_as! {
    IfIndex as u32: |index| index.get(), Self::new;
    IfName as OsString: |name| name.as_os_str().to_owned(), |name| Self::new(name).ok();
    NamePattern as OsString: |name| OsStr::from_bytes(name.as_bytes()).to_owned(), |name| Self::new(name).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_takes() {
        for name in ["tun0", "a", "123456789012345", "x.y", "...", "-a", "büro", "a\u{7f}"] {
            assert_eq!(IfName::new(name).unwrap().as_bytes(), name.as_bytes());
        }
        let latin1 = IfName::new(OsStr::from_bytes(b"a\xe9")).unwrap();
        assert_eq!(latin1.to_string(), "a\\xe9");
        assert_eq!(IfName::new("a\u{1b}[31m").unwrap().to_string(), "a\\u{1b}[31m");
    }

    #[test]
    fn each_rule_has_its_error() {
        let cases = [
            ("", NameError::Empty),
            ("1234567890123456", NameError::TooLong { len: 16 }),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a/b", NameError::Byte { byte: b'/' }),
            ("a:b", NameError::Byte { byte: b':' }),
            ("a b", NameError::Byte { byte: b' ' }),
            ("a\tb", NameError::Byte { byte: b'\t' }),
            ("a\0b", NameError::Byte { byte: 0 }),
            ("tun%d", NameError::Percent),
        ];
        for (name, error) in cases {
            assert_eq!(IfName::new(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn patterns() {
        assert_eq!(NamePattern::new("").unwrap(), NamePattern::KERNEL);
        assert_eq!(NamePattern::new("tap%d").unwrap().exact(), None);
        assert_eq!(NamePattern::new("tap7").unwrap().exact(), IfName::new("tap7").ok());
        for bad in ["x%s", "%d%d", "%", "a%", "%%d"] {
            assert_eq!(NamePattern::new(bad), Err(NameError::Percent), "{bad}");
        }
    }
}
