//! The status page: one page for a browser that shows a program and changes nothing.
//!
//! ```text
//! browser --TCP--> Scrapes (the thread of the metrics' listener) --socket--> Server (the loop)
//!                                              /page: files of this folder, which ask /, /health, /events, /KIND
//! ```
//!
//! The page is off unless `--page` asks for it. Its files are part of the program, and its policy lets a browser load
//! nothing from elsewhere.

use crate::control::http;
use std::sync::Arc;

/// What the page asks: all that a client at the TCP address may ask, with GET.
pub const SHOWN: [&str; 8] =
    ["/", "/health", "/events", "/switch", "/netem", "/nat", "/tunnel", "/lab"];

/// What a browser may load and run: files of this program. Nobody may put the page into a frame.
const POLICY: &str = "Content-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";

/// The files: path, media type, content.
const FILES: [(&str, &str, &str); 6] = [
    ("/page", "text/html; charset=utf-8", include_str!("files/page.html")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_str!("files/page.js")),
    ("/page/model.js", "text/javascript; charset=utf-8", include_str!("files/model.js")),
    ("/page/draw.js", "text/javascript; charset=utf-8", include_str!("files/draw.js")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("files/style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("files/icon.svg")),
];

/// The reply with a file of the page.
#[must_use]
pub fn file(path: &str) -> Option<Arc<[u8]>> {
    let (_, media, text) = FILES.iter().find(|(known, ..)| *known == path)?;
    Some(http::response(200, media, POLICY, text).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::is_wanted;
    use adit_engine::DropReason;

    #[test]
    fn the_page_is_small_and_loads_nothing_from_elsewhere() {
        let len: usize = FILES.iter().map(|(.., text)| text.len()).sum();
        assert!(len < 150_000, "{len} bytes");
        for (path, _, text) in FILES {
            // The name space of SVG is a name, and nothing is loaded from it.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for outside in
                ["http://", "https://", "//cdn", "<style", "onclick=", "style=\"", "eval("]
            {
                assert!(!text.contains(outside), "{path}: {outside}");
            }
            let reply = String::from_utf8(file(path).unwrap().to_vec()).unwrap();
            assert!(reply.contains("Content-Security-Policy: default-src 'self'"), "{path}");
        }
        // The page marks the same drops as wanted as the health list does.
        let model = FILES[2].2;
        let line = model.lines().find(|line| line.starts_with("const WANTED")).unwrap();
        let mut wanted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let known = DropReason::KNOWN.into_iter().map(DropReason::as_str);
        let mut known: Vec<&str> = known.filter(|reason| is_wanted(reason)).collect();
        wanted.sort_unstable();
        known.sort_unstable();
        assert_eq!(wanted, known);
        // Each file that is named is there.
        for part in FILES[0].2.split('"').chain(FILES[1].2.split('"')) {
            let path = part.replace("./", "/page/");
            assert!(!path.starts_with("/page") || file(&path).is_some(), "{path}");
        }
    }
}
