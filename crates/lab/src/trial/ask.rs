//! Questions to a lab that runs.

use adit_service::control::client::Client;
use adit_service::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Fetches `path` and reads the reply.
pub(super) fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    read(client.get(path)?)
}

/// Reads a reply.
pub(super) fn read<T: DeserializeOwned>(reply: Value) -> Result<T> {
    let wrong = |error| Error::usage(format_args!("the lab has another version: {error}"));
    serde_json::from_value(reply).map_err(wrong)
}
