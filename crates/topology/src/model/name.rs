//! Names of nodes and of links.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The longest name of a node: what `/etc/hosts`, host names and `ip netns` take without trouble.
const NODE_LEN_MAX: usize = 32;

/// The name of a node: letters, digits, `-` and `_`, and a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// The name of a link: `a-b` for a link between `a` and `b`, unless another one is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

fn check(text: &str, len_max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > len_max {
        return Err(format!("a name has 1 to {len_max} characters"));
    }
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.chars().all(is_known) || text.starts_with(['-', '_']) {
        let rule = "consists of letters, digits, '-' and '_', and begins with a letter or digit";
        return Err(format!("a name {rule}"));
    }
    Ok(())
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, NODE_LEN_MAX).map(|()| Self(text.to_owned()))
    }
}

impl FromStr for LinkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Two names of nodes with a hyphen, and another with a number for the next one between the same two.
        check(text, 2 * NODE_LEN_MAX + 9).map(|()| Self(text.to_owned()))
    }
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As a key it is its text.
impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl LinkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkName, NodeName};

    #[test]
    fn names_fit_where_they_are_used() {
        for good in ["h1", "a-b", "R_2", &"x".repeat(32)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a.b", "a b", "../x", &"x".repeat(33)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        let longest = format!("{0}-{0}-1234567", "x".repeat(32));
        assert!(longest.parse::<LinkName>().is_ok());
    }
}
