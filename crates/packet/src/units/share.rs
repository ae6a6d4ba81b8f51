//! Shares of a whole: percentages.

use super::error::{UnitError, quoted};
use super::rounded;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Reads a share of all from 0 to 1: `2.5%` or `0.025`.
///
/// Without `%` it must be below 1: `1` may be all or one in a hundred.
///
/// # Errors
///
/// [`UnitError`]: no number, or a share over 100 %.
pub fn parse_share(text: &str) -> Result<f64, UnitError> {
    let trimmed = text.trim();
    let error =
        |message: String, help: Option<String>| UnitError { message, help, part: 0..text.len() };
    let (number, is_percent) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (trimmed, false),
    };
    let is_decimal =
        number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !number.ends_with('.');
    // The point is moved in the text: a division would round a second time.
    let shift = if is_percent { -2 } else { 0 };
    let share = is_decimal.then(|| format!("{number}e{shift}").parse::<f64>().ok()).flatten();
    let Some(share) = share else {
        let help = Some("write `2.5%` or `0.025`".into());
        return Err(match trimmed {
            "" => error("a share is missing".into(), help),
            _ => error(format!("{} is not a share", quoted(trimmed)), help),
        });
    };
    if share > 1.0 && is_percent {
        return Err(error(
            format!("{} is more than all", quoted(trimmed)),
            Some("the maximum is `100%`".into()),
        ));
    }
    if share >= 1.0 && !is_percent {
        let help =
            (share <= 100.0).then(|| format!("did you mean {}?", quoted(&format!("{number}%"))));
        return Err(error(format!("{} needs a percent sign", quoted(trimmed)), help));
    }
    Ok(share)
}

/// Prints a [`share`](super::share).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub(super) f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.pad(&format!("{} %", rounded::number(self.0 * 100.0)));
        }
        // The shortest digits that give this number back, with the point two places on.
        let text = format!("{}", self.0);
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        if !self.0.is_finite() {
            return f.pad(&text);
        }
        let fraction = format!("{fraction:0<2}");
        let (moved, rest) = fraction.split_at(2);
        let whole = format!("{whole}{moved}");
        let sign = if whole.starts_with('-') { "-" } else { "" };
        let whole = whole.trim_start_matches(['-', '0']);
        let whole = if whole.is_empty() { "0" } else { whole };
        let point = if rest.is_empty() { "" } else { "." };
        f.pad(&format!("{sign}{whole}{point}{rest}%"))
    }
}
