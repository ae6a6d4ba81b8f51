//! The requests that a program answers, as a table: from it come the check of each request, the list at
//! `/`, and the OpenAPI document.

use crate::control::browser::SHOWN;
use crate::control::http::{JSON, Method, Request};
use crate::control::rights::Rights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Generates the schema of a body.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Each user who may connect.
    Everybody,
    /// Root, the user who runs the program, and members of its group.
    Members,
}

/// A request that a program answers.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, as `/ports/{name}`.
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The keys that its query takes.
    pub query: &'static [Parameter],
    /// The schema of its body, if it takes one.
    pub body: Option<SchemaOf>,
    /// The media type of the reply, and its schema.
    pub reply: (&'static str, SchemaOf),
    /// Who may send it.
    pub access: Access,
    /// Another status with the same schema, and what it means.
    pub also: Option<(u16, &'static str)>,
}

/// A key of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// The pattern of its values.
    pub pattern: &'static str,
}

impl Parameter {
    /// A key whose values match `pattern`, a regular expression of ECMA-262.
    #[must_use]
    pub const fn new(name: &'static str, pattern: &'static str, help: &'static str) -> Self {
        Self { name, help, pattern }
    }
}

/// The key of a query for the next page of a list.
pub const PAGE: Parameter =
    Parameter::new("page", "^[0-9a-f]+$", "`next` of the page before; without it the first page");

/// The schema of a type as a reply or a body.
pub fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    /// A question: its reply is JSON.
    #[must_use]
    pub const fn get(path: &'static str, summary: &'static str, reply: SchemaOf) -> Self {
        let (method, access) = (Method::Get, Access::Everybody);
        let (query, body, reply, also): (&[_], _, _, _) = (&[], None, (JSON, reply), None);
        Self { method, path, summary, query, body, reply, access, also }
    }

    /// A change, which members alone may ask for.
    #[must_use]
    pub const fn change(
        method: Method,
        path: &'static str,
        summary: &'static str,
        body: Option<SchemaOf>,
        reply: SchemaOf,
    ) -> Self {
        let access = Access::Members;
        let (query, reply, also): (&[_], _, _) = (&[], (JSON, reply), None);
        Self { method, path, summary, query, body, reply, access, also }
    }

    /// The same with keys of its query.
    #[must_use]
    pub const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    /// The same for members alone.
    #[must_use]
    pub const fn for_members(self) -> Self {
        Self { access: Access::Members, ..self }
    }

    /// The same with another status for the same kind of reply.
    #[must_use]
    pub const fn or(self, status: u16, meaning: &'static str) -> Self {
        Self { also: Some((status, meaning)), ..self }
    }

    /// The same with a reply of another media type.
    #[must_use]
    pub const fn media(self, media: &'static str) -> Self {
        Self { reply: (media, self.reply.1), ..self }
    }

    /// The names in the path, as `name` in `/ports/{name}`.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let one = |part: &'static str| part.strip_prefix('{')?.strip_suffix('}');
        self.path.split('/').filter_map(one)
    }

    /// Whether it is a request with these parts of a path.
    fn is_at(&self, parts: &[String]) -> bool {
        let mut own = self.path.split('/').filter(|part| !part.is_empty());
        let is_it = |part: &String| {
            own.next().is_some_and(|own| own.starts_with('{') || own == part.as_str())
        };
        parts.iter().all(is_it) && own.next().is_none()
    }
}

/// One of the requests that a program answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Listed {
    /// Its method.
    method: &'static str,
    /// Its path, with names in braces.
    path: &'static str,
    /// What it does.
    summary: &'static str,
}

impl From<&Route> for Listed {
    fn from(route: &Route) -> Self {
        Self { method: route.method.as_str(), path: route.path, summary: route.summary }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// The methods of the path, if the request has another one.
    pub allow: Option<String>,
    /// What is wrong, as JSON.
    pub body: Value,
}

impl Refusal {
    fn new(status: u16, message: &str, hint: &str) -> Self {
        Self { status, allow: None, body: json!({ "message": message, "hint": hint }) }
    }
}

/// Kinds of programs of which others see nothing, as `wg` shows the peers of a tunnel to root alone.
pub(super) const PRIVATE: [&str; 1] = ["tunnel"];

/// The requests of a program of that kind, with who may send them.
#[must_use]
pub fn of_kind(kind: &str, mut routes: Vec<Route>) -> Vec<Route> {
    if PRIVATE.contains(&kind) {
        routes.iter_mut().for_each(|route| route.access = Access::Members);
    }
    routes
}

/// Checks where a request comes from. Names with a dot are refused: a page of the web can let a name of its own lead
/// here (DNS rebinding), and a browser would take the replies for those of that page.
///
/// # Errors
/// 403.
pub fn check_origin(request: &Request) -> Result<(), Refusal> {
    let name = match request.host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => request.host.as_str(),
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_ours = !name.contains('.') || address.parse::<IpAddr>().is_ok();
    if is_ours && !request.is_foreign {
        return Ok(());
    }
    let message =
        format!("permission denied: the request comes from another site: {}", request.host);
    Err(Refusal::new(403, &message, "Use an address or a name without a dot, as http://localhost."))
}

/// Checks path, method, user and query of a request.
///
/// # Errors
/// 404, 405, 403 and 400, in this order.
pub fn check(routes: &[Route], request: &Request) -> Result<(), Refusal> {
    let parts = request.segments();
    let at: Vec<&Route> = routes.iter().filter(|route| route.is_at(&parts)).collect();
    if at.is_empty() {
        let message = format!("unknown request {} {}", request.method, request.path);
        return Err(Refusal::new(404, &message, "GET / lists the requests of this program."));
    }
    let Some(route) = at.iter().find(|route| route.method == request.method) else {
        let mut methods: Vec<&str> = at.iter().map(|route| route.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let allow = methods.join(", ");
        let message = format!("{} does not take this method", request.path);
        let refusal = Refusal::new(405, &message, &format!("Use {allow}."));
        return Err(Refusal { allow: Some(allow), ..refusal });
    };
    let is_shown = request.method == Method::Get && SHOWN.contains(&route.path);
    let is_denied = match request.rights {
        Rights::Web => !is_shown,
        Rights::Others => route.access == Access::Members,
        Rights::Members | Rights::Owner => false,
    };
    if is_denied {
        let message = format!(
            "permission denied: {} {} is for root, the user of this program and its group",
            request.method, request.path
        );
        return Err(Refusal::new(403, &message, &request.rights.remedy()));
    }
    let is_unknown = |(key, _): &&(String, String)| !route.query.iter().any(|one| one.name == key);
    if let Some((key, _)) = request.query.iter().find(is_unknown) {
        let known: Vec<&str> = route.query.iter().map(|one| one.name).collect();
        let hint = match known.as_slice() {
            [] => "Send the request without a query.".to_owned(),
            known => format!("The keys of its query are {}.", known.join(", ")),
        };
        return Err(Refusal::new(400, &format!("unknown key `{key}` in the query"), &hint));
    }
    Ok(())
}
