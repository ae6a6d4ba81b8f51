//! Parameters (`"${delay}"`) and the numbers of a group (`"10.0.0.1{n}/24"`) in texts.

use adit_service::config::entry::{Kind, Value, Wrong};
use adit_service::config::problems::Problems;
use adit_service::config::suggest::nearest;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The longest text after parameters are filled in: that of the file at most.
const TEXT_LEN_MAX: usize = 1 << 20;

/// A value for a parameter: `delay=80ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The parameter.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NAME=VALUE, for example delay=80ms".to_owned()),
        }
    }
}

/// The values of all parameters.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    /// Reads `[parameters]` of each file, in their order: a later one counts, and `settings` above all.
    pub(super) fn read(tops: &[Value<'_>], settings: &[Setting], problems: &Problems) -> Self {
        let mut values = Self::default();
        for top in tops {
            let Kind::Table(entries) = &top.kind else { continue };
            for entry in entries.iter().filter(|entry| entry.key == "parameters") {
                let Kind::Table(parameters) = &entry.value.kind else {
                    let wrong = Wrong::expected("a table", &entry.value);
                    entry.value.wrong("parameters", wrong, problems);
                    continue;
                };
                for parameter in parameters {
                    match parameter.value.plain() {
                        Some(value) => {
                            values.0.insert(parameter.key.clone().into_owned(), value);
                        }
                        None => {
                            let what = "a text, a number, true or false";
                            let wrong = Wrong::expected(what, &parameter.value);
                            parameter.value.wrong(&parameter.key, wrong, problems);
                        }
                    }
                }
            }
        }
        for Setting { name, value } in settings {
            if values.0.contains_key(name) {
                values.0.insert(name.clone(), value.clone());
            } else {
                let source = adit_service::config::source::Source::new("--set", name.clone());
                let message = format!("no parameter is called `{name}`");
                problems.push(&source, 0..name.len(), message, Some(values.known(name)));
            }
        }
        values
    }

    /// The names of all parameters.
    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_keys().collect()
    }

    /// What may have been meant by a name.
    fn known(&self, name: &str) -> String {
        let known = || self.0.keys().map(String::as_str);
        match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.0.is_empty() => "the file has no [parameters]".to_owned(),
            None => format!("the parameters are {}", known().collect::<Vec<_>>().join(", ")),
        }
    }

    /// Fills parameters into all texts of `value`. A text that is one parameter and nothing else is a number, or
    /// true, where one is needed.
    pub(super) fn fill(&self, value: &mut Value<'_>, problems: &Problems) {
        let filled = match &mut value.kind {
            Kind::Text(text) if text.contains('$') => self.filled(text),
            Kind::List(list) => return list.iter_mut().for_each(|one| self.fill(one, problems)),
            Kind::Table(entries) => {
                return entries.iter_mut().for_each(|entry| self.fill(&mut entry.value, problems));
            }
            _ => return,
        };
        match filled {
            Ok(kind) => value.kind = kind,
            Err(wrong) => {
                problems.push(value.source, value.span.clone(), wrong.message, wrong.help);
                // What else is wrong with it is at the same place, where one problem is reported.
                value.kind = Kind::Word("".into());
            }
        }
    }

    fn filled(&self, text: &str) -> Result<Kind<'static>, Wrong> {
        let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = whole.filter(|name| !name.contains('}')) {
            return self.value(name).map(|value| Kind::Word(value.to_owned().into()));
        }
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled += before;
            rest = if let Some(after) = after.strip_prefix("${") {
                filled += "${";
                after
            } else if let Some((name, after)) =
                after.strip_prefix('{').and_then(|after| after.split_once('}'))
            {
                filled += self.value(name)?;
                after
            } else {
                filled.push('$');
                after
            };
            if filled.len() > TEXT_LEN_MAX {
                return Err(Wrong::new("the text is too long with its parameters"));
            }
        }
        filled += rest;
        Ok(Kind::Text(filled.into()))
    }

    fn value(&self, name: &str) -> Result<&str, Wrong> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            Wrong::new(format_args!("no parameter is called `{name}`"))
                .help(format_args!("{}; `$${{{name}}}` is `${{{name}}}` itself", self.known(name)))
        })
    }
}

/// Puts the number of a member of a group in place of `{n}`, and a sum in place of `{n+10}`, in all texts.
pub(super) fn number(value: &mut Value<'_>, n: u32) {
    match &mut value.kind {
        Kind::Text(text) | Kind::Word(text) if text.contains("{n") => {
            let mut numbered = String::with_capacity(text.len());
            let mut rest = &**text;
            while let Some((before, after)) = rest.split_once("{n") {
                numbered += before;
                match after.split_once('}').and_then(|(sum, after)| Some((plus(n, sum)?, after))) {
                    Some((number, after)) => {
                        numbered += &number.to_string();
                        rest = after;
                    }
                    None => {
                        numbered += "{n";
                        rest = after;
                    }
                }
            }
            numbered += rest;
            *text = numbered.into();
        }
        Kind::List(list) => list.iter_mut().for_each(|one| number(one, n)),
        Kind::Table(entries) => entries.iter_mut().for_each(|entry| number(&mut entry.value, n)),
        _ => {}
    }
}

/// `n` with what follows it in the braces: nothing, or `+10`.
fn plus(n: u32, sum: &str) -> Option<u32> {
    if sum.is_empty() {
        return Some(n);
    }
    let more =
        sum.strip_prefix('+').filter(|more| more.bytes().all(|byte| byte.is_ascii_digit()))?;
    n.checked_add(more.parse().ok()?)
}
