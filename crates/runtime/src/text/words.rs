//! Text in the form `KIND:ARGUMENT[,KEY=VALUE | ,FLAG]...`; a comma inside a value is written twice.

use std::fmt;
use std::str::FromStr;

/// Why the text of a port is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// The mistake.
    pub message: String,
    /// What to write in its place.
    pub hint: Option<String>,
}

impl SpecError {
    /// An error at byte `at` of the text.
    #[must_use]
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for SpecError {}

/// One word between commas.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) at: usize,
    pub(crate) text: String,
}

impl Word {
    fn key(&self) -> &str {
        self.text.split_once('=').map_or(&self.text, |(key, _)| key)
    }

    pub(crate) fn into_pair(self) -> (String, Option<String>) {
        match self.text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (self.text, None),
        }
    }
}

/// The words after the first that no key has taken yet. Each method takes the word of one key; a key
/// that stands there twice is an error.
#[derive(Clone, Debug)]
pub struct Words {
    pub(crate) list: Vec<Word>,
}

impl Words {
    /// Splits at single commas; there is always a first word.
    pub(crate) fn of(text: &str) -> Self {
        let mut list = vec![Word { at: 0, text: String::new() }];
        let mut rest = text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let doubled = c == ',' && rest.next_if(|&(_, next)| next == ',').is_some();
            if c == ',' && !doubled {
                list.push(Word { at: at + 1, text: String::new() });
            } else if let Some(word) = list.last_mut() {
                word.text.push(c);
            }
        }
        Self { list }
    }

    /// Takes the word with that key: where its value is, and the value if there is one.
    fn take_word(&mut self, key: &str) -> Result<Option<(usize, Option<String>)>, SpecError> {
        let mut found = None;
        while let Some(index) = self.list.iter().position(|word| word.key() == key) {
            let word = self.list.remove(index);
            if found.is_some() {
                return Err(SpecError::new(word.at, format!("'{key}' is given twice")));
            }
            let at = word.at + key.len() + 1;
            found = Some((at, word.into_pair().1));
        }
        Ok(found)
    }

    /// The value of a key, and the place of the value in the text.
    ///
    /// # Errors
    /// The key has no value, or is there twice.
    pub fn take(&mut self, key: &str) -> Result<Option<(usize, String)>, SpecError> {
        match self.take_word(key)? {
            None => Ok(None),
            Some((at, Some(value))) if !value.is_empty() => Ok(Some((at, value))),
            Some((at, _)) => Err(SpecError::new(at - 1, format!("'{key}' needs a value"))
                .hint(format!("write {key}=..."))),
        }
    }

    /// The value of a key as it stands.
    ///
    /// # Errors
    /// The key has no value, or is there twice.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, SpecError> {
        Ok(self.take(key)?.map(|(_, value)| value))
    }

    /// The value of a key, parsed; `what` says what it must be, as "an MTU in bytes".
    ///
    /// # Errors
    /// The value cannot be parsed or is missing, or the key is there twice.
    pub fn value<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &str,
        what: &str,
    ) -> Result<Option<T>, SpecError> {
        self.take(key)?.map(|(at, text)| parsed(at, what, &text)).transpose()
    }

    /// Whether a flag is set: `key`, `key=on` or `key=off`; off without it.
    ///
    /// # Errors
    /// Another value, or the key is there twice.
    pub fn flag(&mut self, key: &str) -> Result<bool, SpecError> {
        self.switch(key).map(|on| on.unwrap_or(false))
    }

    /// `key`, `key=on` or `key=off`; `None` without the key.
    ///
    /// # Errors
    /// Another value, or the key is there twice.
    pub fn switch(&mut self, key: &str) -> Result<Option<bool>, SpecError> {
        let Some((at, value)) = self.take_word(key)? else { return Ok(None) };
        match value.as_deref() {
            None | Some("on" | "true" | "yes") => Ok(Some(true)),
            Some("off" | "false" | "no") => Ok(Some(false)),
            Some(other) => Err(SpecError::new(at, format!("'{other}' is neither on nor off"))),
        }
    }
}

/// Parses the part of the text that begins at `at`; `what` says what it must be.
///
/// # Errors
/// It cannot be parsed.
pub fn parsed<T: FromStr<Err: fmt::Display>>(
    at: usize,
    what: &str,
    text: &str,
) -> Result<T, SpecError> {
    text.parse().map_err(|error| SpecError::new(at, format!("'{text}' is not {what}: {error}")))
}

/// Whether one is the beginning of the other, has the same letters, or one letter differs.
pub(crate) fn is_near(known: &str, text: &str) -> bool {
    let letters = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    let differing = known.bytes().zip(text.bytes()).filter(|(a, b)| a != b).count();
    !text.is_empty() && (known.starts_with(text) || text.starts_with(known))
        || letters(known) == letters(text)
        || known.len() == text.len() && differing == 1
}
