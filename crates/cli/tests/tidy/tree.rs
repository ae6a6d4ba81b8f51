//! The modules of a crate and what each of their names refers to.
//!
//! Modules are read as rustc finds them, from `lib.rs` on; what is compiled for tests alone is left
//! out. Names are resolved through imports and re-exports to the file that defines them. A name that a
//! macro makes, or a method, is not seen.

use super::lexer::{Kind, Token, close, lex};
use std::collections::{BTreeMap, BTreeSet};

/// The sources of a crate by their paths below `src`: `port/mod.rs`.
pub(crate) type Sources = BTreeMap<String, String>;

/// All modules of a crate; the first is its root.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
}

#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The file that it is in, below `src`.
    pub(crate) file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Structs, functions and the like that it defines.
    items: BTreeSet<String>,
    imports: BTreeMap<String, Path>,
    globs: Vec<Path>,
    /// Paths that its code uses, re-exports left out, each with the first line that does.
    pub(crate) paths: BTreeMap<Path, usize>,
    /// The types of its inherent `impl` blocks, each with its line.
    pub(crate) impls: Vec<(Path, usize)>,
}

/// `crate::port::Port` as its segments.
pub(crate) type Path = Vec<String>;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Module(usize),
    /// The module that defines it, and its name there.
    Item(usize, String),
}

/// How many imports a name may pass through, so that a circle of imports ends.
const STEPS_MAX: usize = 32;

impl Tree {
    /// Reads a crate from `lib.rs`, or from `main.rs` if it has none.
    pub(crate) fn read(sources: &Sources) -> Self {
        let root = ["lib.rs", "main.rs"].into_iter().find(|name| sources.contains_key(*name));
        let mut tree = Self { modules: Vec::new() };
        if let Some(root) = root {
            tree.file(sources, root, "", None);
        }
        tree
    }

    /// Adds the module in `file`, whose children are in `folder`.
    fn file(
        &mut self,
        sources: &Sources,
        file: &str,
        folder: &str,
        parent: Option<usize>,
    ) -> usize {
        let tokens = lex(&sources[file]);
        let module = self.add(file, parent);
        Reader { tree: self, sources, module, folder: folder.to_owned() }.items(&tokens);
        module
    }

    fn add(&mut self, file: &str, parent: Option<usize>) -> usize {
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        self.modules.len() - 1
    }

    /// What `path` means in `module`; `None` if it leads out of the crate or nowhere.
    pub(crate) fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.resolve_within(module, path, STEPS_MAX)
    }

    fn resolve_within(&self, module: usize, path: &[String], steps: usize) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name => self.name(module, name, steps)?,
        };
        while let (Target::Module(at), Some((name, after))) = (&target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(self.modules[*at].parent?),
                "self" => Target::Module(*at),
                // What a macro made, most likely: it is in that module's file.
                name => self.name(*at, name, steps).unwrap_or(Target::Item(*at, name.to_owned())),
            };
            rest = after;
        }
        Some(target)
    }

    /// What `name` means inside `module`.
    fn name(&self, module: usize, name: &str, steps: usize) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let here = &self.modules[module];
        if let Some(&child) = here.children.get(name) {
            return Some(Target::Module(child));
        }
        if here.items.contains(name) {
            return Some(Target::Item(module, name.to_owned()));
        }
        if let Some(path) = here.imports.get(name) {
            // `use foo::foo` leads out of the crate, not to itself.
            let circular = path.len() > 1 && path[0] == name;
            return (!circular).then(|| self.resolve_within(module, path, steps)).flatten();
        }
        here.globs.iter().find_map(|glob| {
            let Target::Module(from) = self.resolve_within(module, glob, steps)? else {
                return None;
            };
            if from == module { None } else { self.name(from, name, steps) }
        })
    }

    /// The crate's name for a module's file.
    pub(crate) fn file_of(&self, target: &Target) -> &str {
        let (Target::Module(module) | Target::Item(module, _)) = target;
        &self.modules[*module].file
    }
}

/// Reads the items of one module.
struct Reader<'a> {
    tree: &'a mut Tree,
    sources: &'a Sources,
    module: usize,
    /// Where the files of its children are.
    folder: String,
}

const KINDS: [&str; 9] =
    ["struct", "enum", "union", "trait", "type", "fn", "const", "static", "macro_rules"];

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn items(&mut self, tokens: &[Token]) {
        let mut at = 0;
        let mut for_tests = false;
        let mut public = false;
        while at < tokens.len() {
            let start = at;
            at = match &tokens[at].kind {
                Kind::Punct('#') => {
                    let open = at + 1 + usize::from(tokens[at + 1].is('!'));
                    let end = close(tokens, open);
                    for_tests |= is_for_tests(&tokens[open..end]);
                    self.code(&tokens[open..end]);
                    end
                }
                Kind::Word(word) if word == "pub" => {
                    public = true;
                    behind_visibility(tokens, at)
                }
                // What is for tests there says nothing of the item behind it.
                Kind::Word(word) if word == "extern" && tokens[at + 1].is_word("crate") => {
                    end_of_item(tokens, at)
                }
                Kind::Word(word) if word == "mod" => self.module(tokens, at, for_tests),
                Kind::Word(word) if word == "use" => {
                    let end = end_of_item(tokens, at);
                    if !for_tests {
                        self.import(&tokens[at + 1..end], public);
                    }
                    end
                }
                Kind::Word(word)
                    if word == "impl" || self.sign(tokens, at) || is_macro(tokens, at) =>
                {
                    let end = end_of_item(tokens, at);
                    if !for_tests {
                        self.item(&tokens[at..end], word == "impl");
                    }
                    end
                }
                _ => at + 1,
            };
            let ends = matches!(&tokens[start].kind, Kind::Word(word)
                if word != "pub" && (at > start + 1 || word == "mod" || word == "use"));
            if ends {
                (for_tests, public) = (false, false);
            }
        }
    }

    /// Whether the item's keyword is at `at`, and a name after it.
    fn sign(&self, tokens: &[Token], at: usize) -> bool {
        let next = tokens.get(at + 1).and_then(Token::word);
        tokens[at].word().is_some_and(|word| KINDS.contains(&word))
            && next.is_some_and(|next| !KINDS.contains(&next))
    }

    /// `mod name;` or `mod name { .. }` at `at`; returns what is behind it.
    fn module(&mut self, tokens: &[Token], at: usize, for_tests: bool) -> usize {
        let end = end_of_item(tokens, at);
        let Some(name) = tokens.get(at + 1).and_then(Token::word) else { return end };
        if for_tests {
            return end;
        }
        let parent = Some(self.module);
        let folder = format!("{}{name}/", self.folder);
        let child = if tokens[at + 2].is('{') {
            let file = self.here().file.clone();
            let child = self.tree.add(&file, parent);
            let mut inner =
                Reader { tree: self.tree, sources: self.sources, module: child, folder };
            inner.items(&tokens[at + 3..end - 1]);
            child
        } else {
            let files = [format!("{}{name}.rs", self.folder), format!("{folder}mod.rs")];
            let Some(file) = files.iter().find(|file| self.sources.contains_key(*file)) else {
                return end;
            };
            self.tree.file(self.sources, file, &folder, parent)
        };
        self.here().children.insert(name.to_owned(), child);
        end
    }

    fn item(&mut self, tokens: &[Token], is_impl: bool) {
        if is_impl {
            if let Some(path) = implemented(tokens) {
                let line = tokens[0].line;
                self.here().impls.push((path, line));
            }
        } else if is_macro(tokens, 0) {
            // What it makes has the words of what it is.
            for pair in tokens.windows(2) {
                if let (Some(kind), Some(name)) = (pair[0].word(), pair[1].word())
                    && KINDS.contains(&kind)
                {
                    self.here().items.insert(name.to_owned());
                }
            }
        } else {
            let name = tokens[1..].iter().find_map(Token::word).unwrap_or_default().to_owned();
            self.here().items.insert(name);
        }
        self.code(tokens);
    }

    /// Notes the paths in a piece of code, and its `use` declarations.
    fn code(&mut self, tokens: &[Token]) {
        let mut at = 0;
        while at < tokens.len() {
            let Some(word) = tokens[at].word() else {
                at += 1;
                continue;
            };
            if word == "pub" {
                at = behind_visibility(tokens, at);
            } else if word == "use" {
                let end = end_of_item(tokens, at);
                self.import(&tokens[at + 1..end], false);
                at = end;
            } else {
                let line = tokens[at].line;
                let is_member = at > 0
                    && (tokens[at - 1].kind == Kind::PathSep
                        || tokens[at - 1].is('.') && !(at > 1 && tokens[at - 2].is('.')));
                let (path, end) = path(tokens, at);
                if !is_member {
                    self.note(path, line);
                }
                at = end;
            }
        }
    }

    fn note(&mut self, path: Path, line: usize) {
        if path.len() > 1 || !matches!(path[0].as_str(), "crate" | "self" | "super") {
            self.here().paths.entry(path).or_insert(line);
        }
    }

    /// Notes a tree of imports, which comes without `use` and visibility. A public one is a
    /// re-export: it names things, but does not use them. One inside a function counts for the module.
    fn import(&mut self, tokens: &[Token], public: bool) {
        for (path, alias, line) in imports(tokens, &[]) {
            if path.is_empty() {
                continue;
            }
            if !public {
                self.note(path.clone(), line);
            }
            match alias {
                Some(alias) => _ = self.here().imports.entry(alias).or_insert(path),
                None => self.here().globs.push(path),
            }
        }
    }
}

/// The paths of a tree of imports with their names, which a glob has none of.
fn imports(tokens: &[Token], prefix: &[String]) -> Vec<(Path, Option<String>, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].line;
        let mut path = prefix.to_vec();
        while let Some(word) = tokens.get(at).and_then(Token::word) {
            path.push(word.to_owned());
            at += 1;
            if tokens.get(at).is_some_and(|token| token.kind == Kind::PathSep) {
                at += 1;
            } else {
                break;
            }
        }
        let next = tokens.get(at);
        if next.is_some_and(|token| token.is('{')) {
            let end = close(tokens, at);
            found.extend(imports(&tokens[at + 1..end - 1], &path));
            at = end;
        } else if next.is_some_and(|token| token.is('*')) {
            found.push((path, None, line));
        } else if next.is_some_and(|token| token.is_word("as")) {
            let alias = tokens.get(at + 1).and_then(Token::word).unwrap_or("_");
            found.push((path, Some(alias.to_owned()), line));
        } else if path.len() > prefix.len() {
            if path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let alias = path.last().cloned();
            found.push((path, alias, line));
        }
        while at < tokens.len() && !tokens[at].is(',') {
            at += 1;
        }
        at += 1;
    }
    found
}

/// The path that begins at `at`, and the index behind it.
fn path(tokens: &[Token], mut at: usize) -> (Path, usize) {
    let mut path = Vec::new();
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        path.push(word.to_owned());
        at += 1;
        let goes_on = tokens.get(at).is_some_and(|token| token.kind == Kind::PathSep)
            && tokens.get(at + 1).is_some_and(|token| token.word().is_some());
        if !goes_on {
            break;
        }
        at += 1;
    }
    (path, at)
}

/// The type of an inherent `impl` block; `None` for one of a trait.
fn implemented(tokens: &[Token]) -> Option<Path> {
    let mut at = 1;
    let mut depth = 0_usize;
    if tokens.get(1)?.is('<') {
        // The parameters; the `>` of an arrow is no end of them.
        loop {
            if tokens.get(at)?.is('<') {
                depth += 1;
            } else if tokens[at].is('>') && !tokens[at - 1].is('-') {
                depth -= 1;
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    let body = tokens.iter().position(|token| token.is('{'))?;
    let of_trait = tokens[at..body].iter().any(|token| token.is_word("for"));
    let (path, _) = path(tokens, at);
    (!of_trait && !path.is_empty()).then_some(path)
}

fn is_macro(tokens: &[Token], at: usize) -> bool {
    tokens[at].word().is_some_and(|word| word != "macro_rules")
        && tokens.get(at + 1).is_some_and(|token| token.is('!'))
        && tokens.get(at + 2).is_some_and(|token| token.is('{') || token.is('('))
}

/// Whether an attribute, from its `[`, says that something is for tests only.
fn is_for_tests(tokens: &[Token]) -> bool {
    let has = |word| tokens.iter().any(|token| token.is_word(word));
    tokens.get(1).is_some_and(|token| token.is_word("cfg")) && has("test") && !has("not")
        || tokens.get(1).is_some_and(|token| token.is_word("test"))
}

/// What is behind the `pub` at `at` and its parentheses.
fn behind_visibility(tokens: &[Token], at: usize) -> usize {
    if tokens.get(at + 1).is_some_and(|token| token.is('(')) && is_scope(tokens.get(at + 2)) {
        close(tokens, at + 1)
    } else {
        at + 1
    }
}

fn is_scope(token: Option<&Token>) -> bool {
    token
        .and_then(Token::word)
        .is_some_and(|word| matches!(word, "crate" | "super" | "self" | "in"))
}

/// The index behind the item at `at`: behind its `;`, or its body.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let is_import = tokens[at].is_word("use");
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Punct(';') => return at + 1,
            Kind::Punct('{') if !is_import => {
                let end = close(tokens, at);
                // `const A: B = B { .. };` and `static` go on to their semicolon.
                return if tokens.get(end).is_some_and(|token| token.is(';')) {
                    end + 1
                } else {
                    end
                };
            }
            Kind::Punct('(' | '[' | '{') => at = close(tokens, at),
            _ => at += 1,
        }
    }
    at
}
