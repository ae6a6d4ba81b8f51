//! Tables whose keys are names that the user chose.

use adit_service::config::entry::{Entry, Wrong};
use adit_service::config::problems::Problems;
use adit_service::config::table::Table;

/// An entry as a table called `name`.
pub(super) fn table_of<'a>(
    name: &str,
    entry: &Entry<'a>,
    problems: &'a Problems,
) -> Option<Table<'a>> {
    let table = Table::of_value(name, &entry.value, problems);
    if table.is_none() {
        let help = format!("write it as `[{name}]` on a line of its own");
        let wrong = Wrong::expected("a table", &entry.value).help(help);
        entry.value.wrong(&entry.key, wrong, problems);
    }
    table
}

/// The keys and values of a table of texts.
pub(super) fn pairs<'a>(table: &mut Table<'a>, key: &'static str) -> Vec<Entry<'a>> {
    table.table(key).map(Table::into_entries).unwrap_or_default()
}
