//! The schema of an object that a [`Table`](crate::config::table::Table) reads.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// The schema of the keys of a request's body: each takes a text, as on the command line, or the value of JSON.
#[must_use]
pub fn keys<'a>(
    keys: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    required: &[&str],
) -> Schema {
    let one = |(name, value, help): (&str, &str, &str)| {
        let of = match value {
            "" => json!(["boolean", "string"]),
            _ => json!(["string", "number", "boolean", "array", "object"]),
        };
        let help = if value.is_empty() { help.to_owned() } else { format!("{help}: {value}") };
        (name.to_owned(), json!({ "type": of, "description": help }))
    };
    let folder = json!({
        "type": "string", "pattern": "^/",
        "description": "the folder where relative paths in this body start",
    });
    let mut properties: Map<String, Value> = keys.into_iter().map(one).collect();
    properties.insert("cwd".to_owned(), folder);
    // Without keys a body may be left out.
    let object = if required.is_empty() { json!(["object", "null"]) } else { json!("object") };
    schemars::json_schema!({
        "type": object,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
