//! Long lists in pages: a reply has the entries of one page, and a token for the next.

use crate::control::http::Request;
use crate::error::{Error, Result};

/// As many entries has a page of a list whose entries are sorted.
pub const LEN: usize = 1000;

/// The token of the page that starts after `place`, an entry of `list`. Clients take it as it is.
#[must_use]
pub fn token(list: &str, place: &str) -> String {
    format!("{list} {place}").bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The place in `list` at which the page of a request starts; `None` for the first page.
///
/// # Errors
/// The token is not one of that list.
pub fn place(list: &str, request: &Request) -> Result<Option<String>> {
    let Some(token) = request.query_of("page") else { return Ok(None) };
    let byte = |at: usize| u8::from_str_radix(token.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(byte).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match text.split_once(' ') {
        Some((of, place)) if of == list => Ok(Some(place.to_owned())),
        _ => Err(wrong(list)),
    }
}

/// The error for a token that no page of `list` has given.
#[must_use]
pub fn wrong(list: &str) -> Error {
    Error::usage(format!("`page` is not the `next` of a page of {list}"))
        .hint("Start without `page`, then send `next` of each reply as it is.")
}

/// The smallest [`LEN`] of the `entries` above `after` by their keys, and whether there are more. Takes the time of
/// one pass, however long the list is.
pub fn cut<T, K: Ord>(
    entries: impl Iterator<Item = T>,
    after: Option<&K>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, bool) {
    let is_after = |entry: &T| after.is_none_or(|after| key(entry) > *after);
    let mut page: Vec<T> = Vec::new();
    let mut has_more = false;
    for entry in entries.filter(is_after) {
        page.push(entry);
        if page.len() == 2 * LEN {
            page.select_nth_unstable_by_key(LEN, &key);
            page.truncate(LEN);
            has_more = true;
        }
    }
    page.sort_unstable_by_key(&key);
    has_more |= page.len() > LEN;
    page.truncate(LEN);
    (page, has_more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::http::{Parsed, parse};
    use proptest::prelude::{ProptestConfig, any, proptest};
    use std::collections::BTreeSet;

    fn asked(query: &str) -> Request {
        let text = format!("GET /x?{query} HTTP/1.1\r\n\r\n");
        let Parsed::Request(request) = parse(text.as_bytes()) else { panic!("{query}") };
        request
    }

    #[test]
    fn a_token_is_of_its_list_and_none_else() {
        let token = token("fdb", "4096 ä");
        let request = asked(&format!("page={token}"));
        assert_eq!(place("fdb", &request).unwrap().as_deref(), Some("4096 ä"));
        assert_eq!(place("fdb", &asked("")).unwrap(), None);
        assert!(place("flows", &request).is_err());
        for wrong in ["", "7", "zz", "ff", "c3a4", "+1"] {
            assert!(place("fdb", &asked(&format!("page={wrong}"))).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..crate::cases::cases(50) })]

        /// What stays in the list is in one page, whatever comes and goes meanwhile.
        #[test]
        fn pages_have_each_entry_that_stays_once(
            stay in proptest::collection::btree_set(any::<u16>(), 0..4000),
            others in proptest::collection::vec(any::<u16>(), 0..4000),
        ) {
            let mut all: Vec<u16> = stay.iter().copied().collect();
            let mut seen = Vec::new();
            let mut others = others.into_iter().filter(|one| !stay.contains(one));
            let mut after = None;
            loop {
                let (page, has_more) = cut(all.iter().copied(), after.as_ref(), |one| *one);
                assert!(page.len() <= LEN && page.is_sorted());
                after = page.last().copied();
                seen.extend(page.into_iter().filter(|one| stay.contains(one)));
                if !has_more {
                    break;
                }
                all.retain(|one| stay.contains(one));
                all.extend(others.by_ref().take(1000));
            }
            assert!(seen.is_sorted());
            assert_eq!(seen.len(), stay.len());
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stay);
        }
    }
}
