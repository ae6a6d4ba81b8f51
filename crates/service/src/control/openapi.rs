//! The requests of a program as an OpenAPI 3.1 document.

use crate::control::http::JSON;
use crate::control::route::{Access, Parameter, Route, schema};
use crate::error::Report;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Why a request failed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "replies are made where requests fail; this is their schema")]
enum Failure {
    /// The program could not do it.
    Done {
        /// The exit status of a command that fails like this.
        exit: u8,
        /// The error.
        error: Report,
    },
    /// The request was not passed on.
    Refused {
        /// Why.
        message: String,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// The document for these requests; `kind` is what the program is.
#[must_use]
pub fn document(kind: &str, routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    // What may be left out of a body differs from what a reply leaves out, so no component serves both.
    let mut bodies = SchemaSettings::draft2020_12()
        .for_deserialize()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let failure = generator.subschema_for::<Failure>();
    let mut paths = Map::new();
    for route in routes {
        let at = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(at) = at.as_object_mut() {
            let operation = operation(route, &mut generator, &mut bodies);
            at.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let status =
        |what: &str| json!({ "description": what, "content": { JSON: { "schema": failure } } });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("adit {kind}"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The control socket of a running program: HTTP/1.1 on a unix socket, one request a connection.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://adit", "description": "the socket: curl --unix-socket /run/adit/NAME.sock" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Invalid": status("The path, query or body is invalid; the reply names the place."),
                "Forbidden": status("This user may not send the request, or may not name a file in it."),
                "NotFound": status("What the path or body names does not exist."),
                "NotAllowed": status("The path does not take this method; Allow lists those that it takes."),
                "Failure": status("Another failure: 409 it exists, 422 the system refuses it, 503 there are too many clients."),
            },
        },
    })
}

fn operation(
    route: &Route,
    generator: &mut SchemaGenerator,
    bodies: &mut SchemaGenerator,
) -> Value {
    let words = route.path.split(['/', '.']).filter(|part| !part.is_empty());
    let words = words.map(|part| part.trim_matches(['{', '}']));
    let id: Vec<&str> = std::iter::once(route.method.as_str()).chain(words).collect();
    let who = match route.access {
        Access::Everybody => "Each user who may connect may send it.",
        Access::Members => "For root, the user who runs the program, and its group.",
    };
    let in_path = route.names().map(|name| {
        json!({
            "name": name, "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1 },
        })
    });
    let in_query = route.query.iter().map(|Parameter { name, help, pattern }| {
        json!({
            "name": name, "in": "query", "description": help,
            "schema": { "type": "string", "pattern": pattern },
        })
    });
    let (media, reply) = route.reply;
    let reference = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    let mut operation = json!({
        "operationId": id.join("_").to_ascii_lowercase(),
        "summary": route.summary,
        "description": who,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done.", "content": { media: { "schema": reply(generator) } } },
            "400": reference("Invalid"),
            "403": reference("Forbidden"),
            "404": reference("NotFound"),
            "405": reference("NotAllowed"),
            "default": reference("Failure"),
        },
    });
    if let Some((status, meaning)) = route.also {
        let mut answer = operation["responses"]["200"].clone();
        answer["description"] = meaning.into();
        operation["responses"][status.to_string()] = answer;
    }
    if let (Some(body), Some(operation)) = (route.body, operation.as_object_mut()) {
        let schema = body(bodies);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = required.is_some_and(|keys| !keys.is_empty());
        let content = json!({ JSON: { "schema": schema } });
        let body = json!({ "required": is_required, "content": content });
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The schema of any JSON object.
pub fn object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object" })
}

/// The schema of a text.
pub fn text(generator: &mut SchemaGenerator) -> Schema {
    schema::<String>(generator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::http::Method;

    #[derive(serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "its schema is what is looked at")]
    struct Named {
        name: String,
        #[serde(default)]
        vlan: u16,
    }

    #[test]
    fn a_body_may_leave_out_what_has_a_default() {
        let route =
            Route::change(Method::Post, "/things", "adds one", Some(schema::<Named>), object);
        let document = document("switch", &[route]);
        let body = &document["paths"]["/things"]["post"]["requestBody"];
        assert_eq!(body["content"][JSON]["schema"]["required"], json!(["name"]));
        assert_eq!(body["required"], true);
    }

    #[test]
    fn a_document_has_each_request_with_its_schemas() {
        let routes = [
            Route::get("/things/{name}", "a thing", schema::<Report>),
            Route::change(Method::Patch, "/things/{name}", "changes it", Some(object), object),
        ];
        let document = document("switch", &routes);
        let at = &document["paths"]["/things/{name}"];
        assert_eq!(at["get"]["operationId"], "get_things_name");
        assert_eq!(at["get"]["parameters"][0]["name"], "name");
        assert!(at["get"]["requestBody"].is_null());
        assert_eq!(at["patch"]["requestBody"]["content"][JSON]["schema"]["type"], "object");
        // Each reference has its target.
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
