//! What must hold whatever the bytes are: called by property tests and fuzz targets.

use crate::file::reply::Reply;
use crate::file::{conf, hide, invitation as invitations, toml};
use crate::{state, uapi};
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;

/// For fuzzing and property tests: reads a file, and checks what is printed of it.
pub fn file(is_toml: bool, text: &str) {
    let (source, problems) = (Source::new("x", text), Problems::default());
    if is_toml {
        // A file that is named in it would be opened.
        if !text.contains("_file") {
            let _ = toml::read(&source, &problems, conf::HookPolicy::Run);
        }
    } else {
        let _ = conf::read(&source, &problems, conf::HookPolicy::Run);
    }
    problems.edit(hide::hide_secrets);
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '/' || c == '+';
    for problem in problems.into_list() {
        for shown in [&problem.message, &problem.excerpt] {
            // A path may be as long as a key.
            let words = shown.split(|c| !is_base64(c)).filter(|word| !hide::may_be_path(word));
            assert!(words.map(str::len).max().unwrap_or(0) < KEY_PART_LEN_MIN, "{shown}");
        }
    }
}

/// The same of bytes, the first of which says whether the file is TOML.
///
/// # Panics
/// If it does not hold.
pub fn any_file(bytes: &[u8]) {
    let Some((&form, text)) = bytes.split_first() else { return };
    file(form % 2 == 1, &String::from_utf8_lossy(text));
}

/// For fuzzing and property tests: reads what is inside of an invitation, and the file of open ones.
pub fn invitation(text: &str) {
    let _ = invitations::Invitation::parse(text);
    let _ = Reply::parse(text);
    if let Ok(invitation) = invitations::Invitation::of_text(text) {
        let again = invitations::Invitation::parse(&invitation.to_line());
        assert_eq!(again.as_ref(), Ok(&invitation));
    }
    for open in invitations::read_open(text, 0) {
        let again = invitations::write_open(std::slice::from_ref(&open));
        let again = again.expect("it is one");
        assert_eq!(invitations::read_open(&again, 0), [open]);
    }
}

/// This many characters of a key must not be printed: half of it.
const KEY_PART_LEN_MIN: usize = 22;

/// For fuzzing and property tests: parses a request of `wg`.
pub fn request(bytes: &[u8]) {
    let end = uapi::parse::end_of_request(bytes).unwrap_or(bytes.len());
    let Ok(uapi::Request::Set(request)) = uapi::parse::parse(&bytes[..end]) else { return };
    let networks = |peer: &uapi::PeerChange| peer.allowed_ips.len() + peer.forbidden_ips.len();
    let count: usize = request.peers.iter().map(|peer| 1 + networks(peer)).sum();
    assert!(count <= bytes.len() / 10, "each takes ten bytes at least");
    for peer in &request.peers {
        let _ = state::changed(None, peer, request.replace_peers);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_file_is_read(form: bool, text in "(\\[(Peer|Interface|peer|interface)\\]|[A-Za-z_]{1,9} ?= ?|[ -~]{0,30}|\n|\\PC)*") {
            super::file(form, &text);
        }

        #[test]
        fn any_request_is_parsed(
            text in "set=1\n(public_key=[0-9a-f]{64}\n|allowed_ip=[0-9./:-]{1,20}\n|[a-z_]{1,12}=[0-9a-f]{0,8}\n){0,9}\n?"
        ) {
            super::request(text.as_bytes());
        }

        #[test]
        fn any_invitation_is_read(
            text in "[a-z0-9]{1,16}\n[a-z0-9.:\\[\\]]{1,20}:[0-9]{1,5}\n[A-Za-z0-9+/]{42}A=\n[A-Za-z0-9+/]{42}A=\n(10[.]9[.]0[.][0-9]{1,2}/(32|[0-9]{1,2})|fd00::[0-9a-f]{0,4}/(128|[0-9]{1,3})|[ ,]){0,5}\n(0[.]0[.]0[.]0/0|::/0|, ){0,3}\n?|([0-9./, ]{1,20} [A-Za-z0-9+/]{42}A= [0-9]{1,9}\n){0,3}"
        ) {
            super::invitation(&text);
        }
    }
}
