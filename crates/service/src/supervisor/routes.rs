//! The requests that every service answers.

use crate::control::http::Method;
use crate::control::openapi::{object, text};
use crate::control::route::{Parameter, Route, schema};
use crate::control::server::About;
use crate::event::Event;
use crate::journal::Mark;
use crate::log::{LogChange, LogStatus};
use crate::supervisor::{DoneReply, HealthReply};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The requests of every service.
const COMMON: &[Route] = &[
    Route::get("/", "what runs here, and the requests that it answers", schema::<About>),
    Route::get("/openapi.json", "this document", object),
    Route::get(
        "/health",
        "what is wrong, each with its cause and a remedy; 503 if something is",
        schema::<HealthReply>,
    )
    .or(503, "Something is wrong."),
    Route::get("/events", "events: those after a number, then each as it happens", line)
        .query(&[
            Parameter::new(
                "after",
                "^[0-9]+$",
                "the number of the last event that the client has; 0 for all that are kept, none for new ones alone",
            ),
            Parameter::new(
                "follow",
                "^(true|false)$",
                "false: the reply ends with the last event that has happened",
            ),
        ])
        .media("application/x-ndjson"),
    Route::get("/metrics", "metrics for Prometheus; OpenMetrics if 'Accept' asks for it", text)
        .media("text/plain; version=0.0.4; charset=utf-8"),
    Route::get("/log", "what the program logs, and how much", schema::<LogStatus>),
    Route::change(
        Method::Patch,
        "/log",
        "changes what the program logs",
        Some(schema::<LogChange>),
        schema::<LogStatus>,
    ),
    Route::change(Method::Post, "/stop", "ends the program", None, schema::<DoneReply>),
];

/// Reads the configuration again: of services that have one.
pub const RELOAD: Route = Route::change(
    Method::Post,
    "/reload",
    "reads the configuration again and applies the differences",
    None,
    schema::<DoneReply>,
);

/// All requests of a service with `own` ones.
#[must_use]
pub fn all(own: &[Route]) -> Vec<Route> {
    COMMON.iter().chain(own).copied().collect()
}

/// A line of `/events`.
fn line(generator: &mut SchemaGenerator) -> Schema {
    let (mark, event) = (schema::<Mark>(generator), schema::<Event>(generator));
    let numbered = json_schema!({
        "type": "object",
        "properties": {
            "seq": { "type": "integer", "description": "its number" },
            "time_s": { "type": "number", "description": "when it happened, in seconds since 1970" },
        },
        "required": ["seq", "time_s"],
    });
    json_schema!({
        "description": "One line; with 'Accept: text/event-stream' the `data` of one server-sent event.",
        "anyOf": [mark, { "allOf": [event, numbered] }],
    })
}
