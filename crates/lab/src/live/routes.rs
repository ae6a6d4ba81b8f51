//! The requests of a lab.

use adit_service::control::http::Method;
use adit_service::control::route::{Parameter, Route, SchemaOf, schema};
use adit_service::netem::keys;
use adit_service::supervisor::DoneReply;
use adit_service::supervisor::routes::RELOAD;
use adit_topology::report::{CommandOutput, Door, Happened, Lab, LogPart, Network};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The requests of a lab, beside those of every service.
pub const ROUTES: &[Route] = &[
    RELOAD,
    Route::get("/lab", "the lab: its nodes, links and programs", schema::<Lab>).query(&[
        Parameter::new(
            "counters",
            "^all$",
            "all: with the counters of links that the kernel joins",
        ),
    ]),
    Route::get("/lab/networks", "the namespace of each node", schema::<Vec<Network>>),
    Route::get("/lab/events", "the events of the lab", schema::<Vec<Happened>>).query(&[
        Parameter::new("after", "^[0-9]+$", "the number of the last event that the client has"),
    ]),
    Route::get("/lab/logs", "the output of programs", schema::<Vec<LogPart>>)
        .query(&[
            Parameter::new("node", "^.+$", "only programs of this node"),
            Parameter::new("program", "^.+$", "only this program"),
            Parameter::new("from", "^[0-9]+$", "`to` of the reply before"),
        ])
        .for_members(),
    Route::get("/lab/nodes/{node}/door", "files by which to enter a node", schema::<Door>)
        .for_members(),
    Route::change(
        Method::Post,
        "/lab/nodes/{node}/exec",
        "runs a command in a node",
        Some(command),
        schema::<CommandOutput>,
    ),
    change(Method::Patch, "/lab/links/{link}", "changes keys of a link", keys::body),
    change(Method::Post, "/lab/links/{link}/capture", "copies packets of a link to a file", file),
    change(Method::Post, "/lab/fail", "lets nodes and links fail", parts),
    change(Method::Post, "/lab/heal", "heals nodes and links", parts),
    change(Method::Post, "/lab/apply", "applies another file, or other parameters", plan),
];

const fn change(
    method: Method,
    path: &'static str,
    summary: &'static str,
    body: SchemaOf,
) -> Route {
    Route::change(method, path, summary, Some(body), schema::<DoneReply>)
}

fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "words": {
                "type": "array", "items": { "type": "string" }, "minItems": 1,
                "description": "the program and its arguments",
            },
            "within_s": { "type": "number", "minimum": 0, "description": "its time in seconds; the default is 30" },
        },
        "required": ["words"],
    })
}

fn file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "file": { "type": "string", "description": "the path of the file" } },
        "required": ["file"],
    })
}

fn parts(_: &mut SchemaGenerator) -> Schema {
    let names = |what: &str| serde_json::json!({ "type": "array", "items": { "type": "string" }, "description": what });
    json_schema!({
        "type": "object",
        "properties": {
            "nodes": names("nodes"),
            "links": names("links"),
            "partition": names("nodes that are cut off from all others"),
        },
    })
}

fn plan(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "file": { "type": "string", "description": "the file; that of the start without it" },
            "set": {
                "type": "array", "items": { "type": "string" },
                "description": "parameters, as delay=80ms",
            },
        },
    })
}
