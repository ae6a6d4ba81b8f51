//! The value of `netem` as a file can hold it, for configurations that are saved.

use crate::config::problems::Problems;
use crate::config::table::Table;
use crate::config::value::{Kind, Value};
use crate::netem::keys::KEYS;
use serde_json::Value as Json;

/// The value of `netem` with the types of TOML and absolute paths: what a file must hold so that
/// [`of_value`](crate::netem::profile::of_value) reads the same from it, whichever folder it is in.
#[must_use]
pub fn netem(value: &Value<'_>) -> Json {
    kept("netem", value)
}

fn kept(key: &str, value: &Value<'_>) -> Json {
    // Reported already when the profile was read.
    let problems = Problems::default();
    if let Some(table) = Table::of_value(key, value, &problems) {
        let entry = |entry: crate::config::entry::Entry<'_>| {
            let key = entry.key.replace('_', "-");
            let value = kept(&key, &entry.value);
            (key, value)
        };
        return Json::Object(table.into_entries().into_iter().map(entry).collect());
    }
    let hint = KEYS.iter().find(|known| known.name == key).map_or("", |known| known.value);
    match &value.kind {
        Kind::Boolean(is) => (*is).into(),
        Kind::Integer(number) => i64::try_from(*number).map_or(Json::Null, Json::from),
        Kind::Float(number) => (*number).into(),
        Kind::List(list) => list.iter().map(|value| kept(key, value)).collect(),
        Kind::Text(text) | Kind::Word(text) => {
            let names_file = match hint {
                "FILE" => text != "none",
                _ => key == "netem" && text.contains(['.', '/']),
            };
            if names_file {
                let path = value.source().beside(&**text).unwrap_or_default();
                let whole = adit_device::rights::absolute(&path).unwrap_or(path);
                return whole.display().to_string().into();
            }
            let is_word = matches!(value.kind, Kind::Word(_));
            if is_word { typed(hint, text) } else { (&**text).into() }
        }
        Kind::Table(_) | Kind::Other(_) => Json::Null,
    }
}

/// A word of the command line, where nothing tells a number from a text, as a key with this kind of value
/// has it in a file.
fn typed(hint: &str, word: &str) -> Json {
    let whole = || word.parse::<i64>().ok().map(Json::from);
    let number = || word.parse::<f64>().ok().map(Json::from);
    let found = match hint {
        "N" | "BYTES" | "LIMIT" => whole().or_else(number),
        "on|off" => Some(matches!(word, "on" | "true" | "yes").into()),
        "TIMES" => Some(word.split('+').collect()),
        _ => None,
    };
    found.unwrap_or_else(|| word.into())
}
