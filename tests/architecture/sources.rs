//! The workspace's sources as modules, and what each of them names of others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{fmt, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module's path, beginning with its crate's folder: `protocols::privacy::rows`.
pub type ModulePath = Vec<String>;

/// A source file without its tests.
#[derive(Default)]
pub struct Module {
    /// Where it is.
    pub file: PathBuf,
    /// Every path that it names, whole: into the workspace they begin with a crate's folder.
    pub names: BTreeSet<String>,
    /// Every word in it.
    pub words: BTreeSet<String>,
    /// Every text in it, documentation included.
    pub texts: BTreeSet<String>,
    /// The methods that it calls.
    pub calls: BTreeSet<String>,
    /// The modules that it imports.
    pub imports: BTreeSet<ModulePath>,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file.to_string_lossy())
    }
}

/// All modules of the workspace's libraries and programs.
pub struct Workspace(pub BTreeMap<ModulePath, Module>);

/// The workspace as it stands.
pub static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

impl Workspace {
    fn read() -> Self {
        let crates = crates();
        let with_code = crates.values().filter(|folder| root().join(folder).join("src").exists());
        let sources = with_code.flat_map(|folder| {
            let src = root().join(folder).join("src");
            rust_files(&src).into_iter().map(move |file| {
                let inside = file.strip_prefix(&src).expect("it was found there").with_extension("");
                let inside = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
                let path = std::iter::once(folder.clone()).chain(inside).collect();
                let text = fs::read_to_string(&file).expect("sources are text");
                (path, file, text)
            })
        });
        Self::of(&crates, sources)
    }

    /// Of crates' folders by the names that code knows them by, and sources by their paths in these folders.
    pub fn of(crates: &BTreeMap<String, String>, sources: impl Iterator<Item = (ModulePath, PathBuf, String)>) -> Self {
        // A library and a program of one crate are one module here.
        let mut files: BTreeMap<ModulePath, (PathBuf, TokenStream)> = BTreeMap::new();
        for (mut path, file, text) in sources {
            path.pop_if(|last| matches!(last.as_str(), "lib" | "main" | "mod"));
            if !path.iter().any(|part| part == "tests") {
                let code: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                files.entry(path).or_insert_with(|| (file, TokenStream::new())).1.extend(without_tests(code));
            }
        }
        let known: BTreeSet<ModulePath> = files.keys().cloned().collect();
        let modules = files.into_iter().map(|(path, (file, code))| {
            let module = Module { file, ..Module::default() };
            let mut reader = Reader { crates, known: &known, called: BTreeMap::new(), module };
            reader.read(code.clone(), &path, true);
            reader.read(code, &path, false);
            let mut module = reader.module;
            module.imports.remove(&path);
            (path, module)
        });
        Self(modules.collect())
    }

    /// The modules at and below a path such as `node::data`.
    pub fn within<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a ModulePath, &'a Module)> {
        self.0.iter().filter(move |(module, _)| is_within(&module.join("::"), path))
    }

    /// The sets of modules that import one another, directly or by way of others of the set.
    pub fn rings(&self) -> BTreeSet<BTreeSet<String>> {
        let below: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.0.keys().map(|module| (module, self.reached(module))).collect();
        let together = |module: &ModulePath| -> BTreeSet<String> {
            let ring = below[module].iter().filter(|other| below[*other].contains(module));
            ring.map(|module| module.join("::")).collect()
        };
        self.0.keys().map(together).filter(|ring| !ring.is_empty()).collect()
    }

    fn reached<'a>(&'a self, start: &'a ModulePath) -> BTreeSet<&'a ModulePath> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            let new = self.0[module].imports.iter().filter(|import| reached.insert(*import));
            next.extend(new.collect::<Vec<_>>());
        }
        reached
    }
}

/// Whether a path is one, or of something in it.
pub fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates' folders by the names that code knows them by.
fn crates() -> BTreeMap<String, String> {
    let manifest = |folder: &Path| -> toml::Table {
        let text = fs::read_to_string(folder.join("Cargo.toml")).expect("a crate has a manifest");
        text.parse().expect("manifests are TOML")
    };
    let members = manifest(&root())["workspace"]["members"].as_array().expect("a list").clone();
    let named = |member: toml::Value| {
        let folder = member.as_str().expect("a folder").to_owned();
        let name = manifest(&root().join(&folder))["package"]["name"].as_str().expect("a name").replace('-', "_");
        (name, folder)
    };
    members.into_iter().map(named).collect()
}

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

/// Leaves out what is behind `#[cfg(test)]`: an item up to its block or its semicolon.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let tested = is(&token, '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)");
        if tested {
            let ends = |token: &TokenTree| match token {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                token => is(token, ';'),
            };
            tokens.find(ends);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inside = without_tests(group.stream());
                TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inside))
            }
            token => token,
        });
    }
    kept.into_iter().collect()
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Finds the paths in a module's tokens, in `use` and elsewhere, macros included.
struct Reader<'a> {
    crates: &'a BTreeMap<String, String>,
    known: &'a BTreeSet<ModulePath>,
    /// What a `use` in a module calls something, and the whole path of that.
    called: BTreeMap<(ModulePath, String), Vec<String>>,
    module: Module,
}

impl Reader<'_> {
    /// Reads each `use`, or with `uses` false all other paths, which can begin with what those bring in.
    fn read(&mut self, tokens: TokenStream, here: &[String], uses: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at..] {
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(group), ..] if word == "mod" => {
                    self.read(group.stream(), &[here, &[name.to_string()]].concat(), uses);
                    at += 3;
                }
                [TokenTree::Ident(word), TokenTree::Ident(_), ..] if word == "use" => {
                    let end = at + tokens[at..].iter().position(|token| is(token, ';')).expect("a use ends");
                    if uses {
                        self.tree(&tokens[at + 1..end], &[], here);
                    }
                    at = end;
                }
                [TokenTree::Ident(_), ..] => {
                    let (path, length) = path(&tokens[at..]);
                    self.module.words.extend(path.iter().cloned());
                    if at > 0 && is(&tokens[at - 1], '.') {
                        self.module.calls.insert(path[0].clone());
                    }
                    if !uses && path.len() > 1 {
                        self.note(&path, here);
                    }
                    at += length;
                }
                [TokenTree::Group(group), ..] => {
                    self.read(group.stream(), here, uses);
                    at += 1;
                }
                [TokenTree::Literal(literal), ..] => {
                    self.module.texts.insert(literal.to_string());
                    at += 1;
                }
                // The end of a path behind generics, such as `::new` of `Vec::<u8>::new`.
                [one, two, ..] if is(one, ':') && is(two, ':') => at += 3,
                _ => at += 1,
            }
        }
    }

    /// Reads a `use`, or a branch of one.
    fn tree(&mut self, tokens: &[TokenTree], stem: &[String], here: &[String]) {
        let (own, length) = path(tokens);
        let mut whole = [stem, &own].concat();
        if let [one, two, TokenTree::Group(group)] = &tokens[length..]
            && is(one, ':')
            && is(two, ':')
        {
            let branches: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in branches.split(|token| is(token, ',')).filter(|branch| !branch.is_empty()) {
                self.tree(branch, &whole, here);
            }
            return;
        }
        whole.pop_if(|last| last == "self");
        let name = match &tokens[length..] {
            [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "as" => name.to_string(),
            _ => whole.last().expect("a use names something").clone(),
        };
        let whole = self.note(&whole, here);
        self.called.insert((here.to_vec(), name), whole);
    }

    /// Keeps a path, and the module that it leads to or into; returns it whole.
    fn note(&mut self, path: &[String], here: &[String]) -> Vec<String> {
        let whole = self.whole(path, here);
        self.module.names.insert(whole.join("::"));
        let module = (1..=whole.len()).rev().map(|length| &whole[..length]).find(|module| self.known.contains(*module));
        self.module.imports.extend(module.map(<[String]>::to_vec));
        whole
    }

    fn whole(&self, path: &[String], here: &[String]) -> Vec<String> {
        let (first, rest) = path.split_first().expect("a path names something");
        match first.as_str() {
            "crate" => [&here[..1], rest].concat(),
            "self" => [here, rest].concat(),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                [&here[..here.len() - up], &path[up..]].concat()
            }
            _ => match (self.crates.get(first), self.called.get(&(here.to_vec(), first.clone()))) {
                (Some(folder), _) => [std::slice::from_ref(folder), rest].concat(),
                (None, Some(called)) => [called, rest].concat(),
                (None, None) if self.known.contains(&[here, &path[..1]].concat()) => [here, path].concat(),
                (None, None) => path.to_vec(),
            },
        }
    }
}

/// The path that begins here, and how many tokens it has.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let (mut path, mut at) = (Vec::new(), 0);
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        path.push(word.to_string());
        at += 1;
        match &tokens[at..] {
            [one, two, TokenTree::Ident(_), ..] if is(one, ':') && is(two, ':') => at += 2,
            _ => break,
        }
    }
    (path, at)
}
