//! Rust source as tokens: enough to tell code from comments and texts.

/// A token and the line on which it starts, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword, a number.
    Word(String),
    /// `::`
    PathSep,
    /// Any other character of punctuation, brackets included.
    Punct(char),
    /// What a string literal contains, escapes as they are written.
    Text(String),
    /// A line of a doc comment without its `///` or `//!`.
    Doc(String),
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        if let Kind::Word(word) = &self.kind { Some(word) } else { None }
    }

    pub(crate) fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// All tokens of a source file. Comments are left out, doc comments are not.
pub(crate) fn lex(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let char = self.peek(0);
        self.at += 1;
        self.line += usize::from(char == '\n');
        char
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.tokens.push(Token { kind, line });
    }

    fn step(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.text(0),
            ('\'', _) => self.quote(),
            (':', ':') => {
                self.at += 2;
                self.push(Kind::PathSep, line);
            }
            (char, _) if char.is_alphanumeric() || char == '_' => self.word(),
            (char, _) => {
                self.bump();
                if !char.is_whitespace() {
                    self.push(Kind::Punct(char), line);
                }
            }
        }
    }

    fn line_comment(&mut self) {
        let line = self.line;
        let start = self.at;
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.at += 1;
        }
        let comment: String = self.chars[start..self.at].iter().collect();
        let doc = comment.strip_prefix("///").or_else(|| comment.strip_prefix("//!"));
        if let Some(doc) = doc.filter(|doc| !doc.starts_with('/')) {
            self.push(Kind::Doc(doc.trim().to_owned()), line);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.at += 2;
                }
                ('*', '/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {
                    self.bump();
                }
            }
        }
    }

    /// A string literal that begins here; a raw one if `hashes` is not 0, where 1 is `r"`.
    fn text(&mut self, hashes: usize) {
        let line = self.line;
        self.bump();
        let mut text = String::new();
        while self.at < self.chars.len() {
            let char = self.bump();
            let closes = (1..hashes).all(|at| self.peek(at - 1) == '#');
            match char {
                '"' if closes => {
                    self.at += hashes.saturating_sub(1);
                    break;
                }
                '\\' if hashes == 0 => {
                    text.push(char);
                    text.push(self.bump());
                }
                _ => text.push(char),
            }
        }
        self.push(Kind::Text(text), line);
    }

    /// A character literal, which is dropped, or a lifetime, likewise.
    fn quote(&mut self) {
        let is_char = self.peek(1) == '\\' || self.peek(2) == '\'';
        self.at += 1;
        if !is_char {
            return;
        }
        while self.at < self.chars.len() {
            match self.bump() {
                '\\' => self.at += 1,
                '\'' => return,
                _ => {}
            }
        }
    }

    fn word(&mut self) {
        let (line, start) = (self.line, self.at);
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        let raw = word.ends_with('r') && matches!(word.as_str(), "r" | "br" | "cr");
        let hashes = (0..).take_while(|&ahead| self.peek(ahead) == '#').count();
        if raw && self.peek(hashes) == '"' {
            self.at += hashes;
            return self.text(hashes + 1);
        }
        if matches!(word.as_str(), "b" | "c") && matches!(self.peek(0), '"' | '\'') {
            return if self.peek(0) == '"' { self.text(0) } else { self.quote() };
        }
        if word == "r" && hashes == 1 {
            self.at += 1;
            return self.word();
        }
        self.push(Kind::Word(word), line);
    }
}

/// The index behind the bracket that closes the one at `open`.
pub(crate) fn close(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punct('(' | '[' | '{') => depth += 1,
            Kind::Punct(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn code_is_distinguished_from_comments_and_texts() {
    let source = r##"
        /// Docs of a::b.
        fn f<'a>(x: &'a str) -> char { // crate::no
            let s = r#"crate::"no" "#; /* crate::no /* x */ */
            let q = ['\'', '"', b'x', 'c'];
            "a \" b"; br"\"; g::h(1.5)
        }
    "##;
    let tokens = lex(source);
    let texts: Vec<_> = tokens
        .iter()
        .filter_map(|token| if let Kind::Text(text) = &token.kind { Some(&**text) } else { None })
        .collect();
    assert_eq!(texts, ["crate::\"no\" ", "a \\\" b", "\\"]);
    assert!(!tokens.iter().any(|token| token.is_word("no") || token.is_word("x\"")));
    assert_eq!(tokens[0].kind, Kind::Doc("Docs of a::b.".to_owned()));
    let g = tokens.iter().position(|token| token.is_word("g")).unwrap();
    assert_eq!((&tokens[g + 1].kind, tokens[g].line), (&Kind::PathSep, 6));
}
