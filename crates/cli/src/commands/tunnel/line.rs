//! A line from another machine, on standard input.

use crate::context::Context;
use adit_service::error::{Error, Result};
use adit_vpn::file::invitation::LINE_LEN_MAX;
use std::io::{self, BufRead, IsTerminal, Read};
use zeroize::Zeroizing;

/// Reads the first line that is not empty; `what` it must be is printed on a terminal.
pub(super) fn read_line(context: &Context, what: &str) -> Result<Zeroizing<String>> {
    if io::stdin().is_terminal() {
        context.output.note(format_args!("paste {what}, then press Enter"));
    }
    let limit = u64::try_from(LINE_LEN_MAX * 2).unwrap_or(u64::MAX);
    let mut input = io::stdin().lock().take(limit);
    let mut line = Zeroizing::new(String::with_capacity(LINE_LEN_MAX * 2));
    loop {
        let read = input.read_line(&mut line);
        let len = read.map_err(|error| Error::io("read", "standard input", &error))?;
        if len == 0 || !line.trim().is_empty() {
            return Ok(line);
        }
        line.clear();
    }
}
