//! The part of HTTP/1.1 that is spoken here: one request, one reply with its length, then the end.

use crate::config::source::Files;
use crate::control::rights::Rights;
use serde_json::Value;
use std::fmt;

/// The longest head of a request.
pub const HEAD_LEN_MAX: usize = 8 << 10;

/// The longest body of a request: what `port add` and `set` say of one port is far shorter, and an UAPI
/// configuration of a thousand peers fits.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// The most header fields: curl sends four.
const FIELDS_MAX: usize = 32;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Ask.
    Get,
    /// Do, or add.
    Post,
    /// Change.
    Patch,
    /// Take away.
    Delete,
    /// One that nothing here takes.
    Other,
}

impl Method {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Whether it was HEAD: the reply has no body.
    pub is_head: bool,
    /// The path, as `/ports/a`, without what follows a `?`.
    pub path: String,
    /// What follows the `?`, with `%xx` resolved: keys and their values.
    pub query: Vec<(String, String)>,
    /// The body; `null` if there is none.
    pub body: Value,
    /// The `Accept` field, in lower case; empty if there is none.
    pub accept: String,
    /// The number of the last event that the client has.
    pub last_event: Option<String>,
    /// The name by which the client calls this program, with its port; empty if it has none.
    pub host: String,
    /// Whether a page of another origin sends it.
    pub is_foreign: bool,
    /// Who asks.
    pub from: Ticket,
    /// What the client may do.
    pub rights: Rights,
    /// Whether the client may name files: root, and the user of this program.
    pub files: Files,
}

/// One request of one client, to be answered later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The client's place.
    pub slot: usize,
    /// The client's number, which no other one has.
    pub number: u64,
}

impl Request {
    /// The parts of the path, as `["ports", "a"]`, with `%xx` resolved.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(unescape).collect()
    }

    /// The value of a key of the query.
    pub fn query_of(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// What the bytes so far are.
#[derive(Debug)]
pub enum Parsed {
    /// The beginning of a request.
    Partial,
    /// A whole request.
    Request(Request),
    /// None that is understood: the status, and why.
    Refused(u16, String),
}

/// Reads a request from the bytes received so far.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_LEN_MAX => {
            return Parsed::Refused(431, "the head of the request is too long".to_owned());
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(error) => return Parsed::Refused(400, format!("not an HTTP request: {error}")),
    };
    let method = match head.method {
        Some("GET" | "HEAD") => Method::Get,
        Some("POST") => Method::Post,
        Some("PATCH") => Method::Patch,
        Some("DELETE") => Method::Delete,
        _ => Method::Other,
    };
    let is_head = head.method == Some("HEAD");
    let fields = match Fields::read(head.headers) {
        Ok(fields) => fields,
        Err((status, why)) => return Parsed::Refused(status, why.to_owned()),
    };
    let Some(body) = bytes.get(head_len..head_len + fields.len) else { return Parsed::Partial };
    let body = match body {
        [] => Value::Null,
        body => match serde_json::from_slice(body) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return Parsed::Refused(400, "the body is not an object".to_owned()),
            Err(error) => return Parsed::Refused(400, format!("the body is not JSON: {error}")),
        },
    };
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |word: &str| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (unescape(key), unescape(value))
    };
    let query = query.split('&').filter(|word| !word.is_empty()).map(pair).collect();
    let path = path.to_owned();
    let is_foreign = fields.is_foreign();
    let Fields { accept, last_event, host, .. } = fields;
    let (from, rights, files) = (Ticket::default(), Rights::Others, Files::Refused);
    let request = Request {
        method,
        is_head,
        path,
        query,
        body,
        accept,
        last_event,
        host,
        is_foreign,
        from,
        rights,
        files,
    };
    Parsed::Request(request)
}

/// The fields of a head that are looked at.
#[derive(Default)]
struct Fields {
    /// The length of the body.
    len: usize,
    accept: String,
    last_event: Option<String>,
    host: String,
    origin: Option<String>,
    /// Browsers send it to hosts that they trust, as localhost (Fetch Metadata).
    site: String,
}

impl Fields {
    /// # Errors
    ///
    /// The status and the reason to refuse the request.
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, (u16, &'static str)> {
        let mut fields = Self::default();
        for field in headers {
            let text = || String::from_utf8_lossy(field.value).trim().to_owned();
            match field.name.to_ascii_lowercase().as_str() {
                "accept" => {
                    // Several fields are one list (RFC 9110, 5.3).
                    fields.accept += &text().to_ascii_lowercase();
                    fields.accept.push(',');
                }
                "last-event-id" => fields.last_event = Some(text()),
                "host" => fields.host = text(),
                "origin" => fields.origin = Some(text()),
                "sec-fetch-site" => fields.site = text(),
                "transfer-encoding" => {
                    return Err((411, "a body must come with its Content-Length"));
                }
                "content-length" => match text().parse::<usize>() {
                    Ok(number) if number <= BODY_LEN_MAX => fields.len = number,
                    Ok(_) => return Err((413, "the body is too long")),
                    Err(_) => return Err((400, "Content-Length is not a number")),
                },
                _ => {}
            }
        }
        Ok(fields)
    }

    /// Whether a page of another site sends the request.
    fn is_foreign(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| *origin != format!("http://{}", self.host))
            || ["cross-site", "same-site"].contains(&self.site.as_str())
    }
}

/// Whatever the bytes are, reading them ends and does not panic: for tests and fuzzing.
pub fn parse_any(bytes: &[u8]) {
    if let Parsed::Request(request) = parse(bytes) {
        assert!(request.segments().len() <= bytes.len());
    }
    let _ = parse_reply(bytes);
}

/// A request as bytes.
pub fn request(method: Method, path: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let len = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: adit\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The longest body of a reply: a switch of 1,024 ports with all that there is to tell of each is
/// shorter, and addresses come in pages.
pub const REPLY_LEN_MAX: usize = 32 << 20;

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// A reply in JSON as bytes.
pub fn reply(status: u16, body: &Value) -> Vec<u8> {
    let mut text = body.to_string();
    let mut status = status;
    if text.len() > REPLY_LEN_MAX {
        (status, text) = (500, r#"{"message":"the reply is too long"}"#.to_owned());
    }
    text.push('\n');
    response(status, JSON, "", &text)
}

/// A reply as bytes; `fields` are further lines of the head, each with its end.
pub fn response(status: u16, content_type: &str, fields: &str, body: &str) -> Vec<u8> {
    let mut bytes =
        head(status, content_type, &format!("Content-Length: {}\r\n{fields}", body.len()));
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// The head of a reply; its body ends with the connection, unless `fields` has its length.
pub fn head(status: u16, content_type: &str, fields: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Refused",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{fields}Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The length of the head of a reply.
pub fn head_len(reply: &[u8]) -> usize {
    const END: &[u8] = b"\r\n\r\n";
    let end = reply.windows(END.len()).position(|window| window == END);
    end.map_or(reply.len(), |at| at + END.len())
}

/// Reads a whole reply: its status and body; `None` if it is none.
pub fn parse_reply(bytes: &[u8]) -> Option<(u16, Value)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = head.parse(bytes).ok()? else { return None };
    Some((head.code?, serde_json::from_slice(bytes.get(len..)?).ok()?))
}

/// One segment of a path as it stands in a request.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let resolved = hex.filter(|_| byte == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(resolved.unwrap_or(byte));
        rest = if resolved.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}
