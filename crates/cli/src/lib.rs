//! The program `adit` as a library, for its `main` and fuzz targets only. It has no stable API: use the
//! other crates.
//!
//! ```no_run
//! std::process::exit(i32::from(adit_cli::run()));
//! ```

mod color;
mod commands;
mod compat;
mod context;
mod errno;
#[doc(hidden)]
pub mod exercise;
mod exit;
mod man;
mod netem;
mod output;
mod pictures;
mod show;

/// The Rust of the book, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/library.md")]
struct Cookbook;

use crate::exit::Exit;
use crate::output::Output;
use adit_service::error::Error;
use clap::Parser;
use color::Color;
use commands::Cli;
use std::ffi::OsString;

/// Runs the command line and returns the exit status.
#[must_use]
pub fn run() -> u8 {
    adit_device::process::keep_lookups_static();
    adit_runtime::panics::end_in_order();
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [program, rest @ ..] = &args[..]
        && let Some(tool) = compat::Tool::called_as(program)
    {
        return tool.run(rest.iter().cloned());
    }
    if adit_capture::extcap::is_extcap_call(&args) {
        return commands::capture::serve_wireshark(&args).code();
    }
    let exit = match Cli::try_parse() {
        Ok(cli) => {
            let output = cli.global.output();
            match cli.run(output.clone()) {
                Ok(exit) => exit,
                Err(error) => failed(&output, &error),
            }
        }
        Err(error) => misused(&error),
    };
    adit_log::finish();
    if adit_runtime::panics::is_ending() { Exit::Bug.code() } else { exit.code() }
}

fn failed(output: &Output, error: &Error) -> Exit {
    let exit = Exit::of(error);
    if exit != Exit::BrokenPipe && !adit_log::report(&error.report) {
        // What was logged before stands before it.
        adit_log::finish();
        output.error(&error.report);
    }
    exit
}

/// Prints help, or an invalid command line.
fn misused(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Help or the version. If the reader is gone, there is nothing to report.
        return error.print().map_or(Exit::BrokenPipe, |()| Exit::Ok);
    }
    let wants_json = std::env::args_os().any(|word| is_json_flag(&word));
    if wants_json {
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        let text = text.split("\n\nFor more information").next().unwrap_or_default();
        let message = text.trim().trim_start_matches("error: ").replace("\n\n", "; ");
        let output = Output::new(true, false, Color::Never.streams(), false, 0);
        return failed(&output, &Error::usage(message));
    }
    // If standard error is closed, only the status remains.
    let _ = error.print();
    Exit::Usage
}

/// `--json`, `--pretty`, `-j`, `-p`, also joined as `-vj`.
fn is_json_flag(word: &OsString) -> bool {
    let Some(word) = word.to_str() else { return false };
    match word.strip_prefix("--") {
        Some(long) => long == "json" || long == "pretty",
        None => word.strip_prefix('-').is_some_and(|short| {
            short.chars().all(|c| "jpqvs".contains(c)) && short.contains(['j', 'p'])
        }),
    }
}
