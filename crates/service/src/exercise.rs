//! What must hold whatever the bytes are: property tests and fuzz targets call the same.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::netem::profile::{self, Profiles};
use crate::switch::port::WantedPort;
use crate::switch::wanted::WantedSwitch;

/// Reading a configuration ends and does not panic, whatever the text is; its mistakes are few and
/// have no control character. The first byte chooses what it is read as.
///
/// # Panics
/// If it does not hold.
pub fn config(bytes: &[u8]) {
    let Some((&kind, data)) = bytes.split_first() else { return };
    let source = Source::new("x.toml", String::from_utf8_lossy(data));
    let problems = Problems::default();
    match kind % 4 {
        0 => drop(WantedSwitch::of_source(&source, &problems)),
        1 => drop(crate::link::wanted::of_file(&source)),
        2 => drop(WantedPort::from_words(&source, &problems)),
        _ => {
            let mut table = read::words(&source, 0, &problems);
            profile::of_table(&mut table, Profiles::default());
            table.finish();
        }
    }
    let list = problems.into_list();
    assert!(list.len() <= 101);
    for problem in list {
        assert!(!problem.to_string().replace('\n', "").contains(char::is_control), "{problem:?}");
    }
}

/// What a client sends to a control socket is read or refused.
pub fn request(bytes: &[u8]) {
    crate::control::http::parse_any(bytes);
}
