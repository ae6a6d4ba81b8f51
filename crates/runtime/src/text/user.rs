//! Users and groups as people write them.

use std::fmt;
use std::str::FromStr;

/// A user by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As it was given.
    pub text: String,
    /// The number of the user.
    pub uid: u32,
}

adit_device::wire_structs! {
    User { text, uid }
    Group { text, gid }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uid = match text.parse() {
            Ok(uid) => uid,
            Err(_) => uzers::get_user_by_name(text).ok_or("no such user")?.uid(),
        };
        Ok(Self { text: text.to_owned(), uid })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, &self.text, self.uid)
    }
}

/// A group by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// As it was given.
    pub text: String,
    /// The number of the group.
    pub gid: u32,
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let gid = match text.parse() {
            Ok(gid) => gid,
            Err(_) => uzers::get_group_by_name(text).ok_or("no such group")?.gid(),
        };
        Ok(Self { text: text.to_owned(), gid })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, &self.text, self.gid)
    }
}

fn write_id(f: &mut fmt::Formatter<'_>, text: &str, id: u32) -> fmt::Result {
    if text.parse() == Ok(id) { write!(f, "{id}") } else { write!(f, "{text} ({id})") }
}

/// The name of a user, if the system has one for the id.
pub fn user_name(uid: u32) -> Option<String> {
    uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned())
}

/// The name of a group, if the system has one for the id.
pub fn group_name(gid: u32) -> Option<String> {
    uzers::get_group_by_gid(gid).map(|group| group.name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_number() {
        assert_eq!("root".parse::<User>().unwrap().uid, 0);
        assert_eq!("root".parse::<User>().unwrap().to_string(), "root (0)");
        assert_eq!("4711".parse::<User>().unwrap().to_string(), "4711");
        assert!("no such user".parse::<User>().is_err());
        assert_eq!("root".parse::<Group>().unwrap().gid, 0);
    }
}
