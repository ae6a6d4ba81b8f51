//! Which of the two text formats a client asks for.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.0: for clients that ask for it, as Prometheus does.
    OpenMetrics,
    /// Version 0.0.4 of the format of Prometheus: for all others, as in the client libraries of Prometheus.
    Plain,
}

impl Format {
    /// The media type of a reply.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format that an `Accept` field prefers (RFC 9110, 12.5.1).
    pub(super) fn of_accept(accept: &str) -> Self {
        let accept = accept.to_ascii_lowercase();
        let ranges: Vec<Range<'_>> = accept.split(',').map(Range::read).collect();
        let best = |is_one: &dyn Fn(&Range<'_>) -> bool| {
            let weights = ranges.iter().filter(|range| is_one(range)).map(|range| range.weight);
            weights.max().unwrap_or(0)
        };
        let open = best(&|range| {
            range.kind == "application/openmetrics-text"
                && matches!(range.version, None | Some("1.0.0"))
        });
        let plain = best(&|range| {
            matches!(range.kind, "text/plain" | "text/*" | "*/*")
                && matches!(range.version, None | Some("0.0.4"))
        });
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Plain }
    }
}

/// One media range of an `Accept` field.
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    weight: u32,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let mut range = Self { kind, version: None, weight: 1000 };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "version" => range.version = Some(value.trim().trim_matches('"')),
                "q" => range.weight = weight(value.trim()),
                _ => {}
            }
        }
        range
    }
}

/// `0.5` in thousandths; 0 if it is no weight.
fn weight(text: &str) -> u32 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_weight = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, format!("{part:0<3}").parse::<u32>()) {
        ("1", _) if is_weight => 1000,
        ("0", Ok(thousandths)) if is_weight => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_what_it_prefers() {
        // As Prometheus 2.42 and 3.0 ask.
        let prometheus = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for open in
            [prometheus, newer, "Application/OpenMetrics-Text", "application/openmetrics-text, */*"]
        {
            assert_eq!(Format::of_accept(open), Format::OpenMetrics, "{open}");
        }
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        let plain = [
            "",
            "*/*",
            browser,
            "text/plain",
            "text/plain;version=0.0.4, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=9",
            "application/openmetrics-text;q=one",
            ";;=;q=;,",
        ];
        for plain in plain {
            assert_eq!(Format::of_accept(plain), Format::Plain, "{plain}");
        }
    }
}
