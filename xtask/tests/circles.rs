//! Within a crate no file imports, by whatever way round, what imports it: a file can be read after those it builds on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates that still have circles.
const NOT_YET: [&str; 0] = [];

/// Where a module is: the names from the root of the crate on.
type Module = Vec<String>;

/// The files of a crate by their module, and for each what it imports of the others.
struct Imports(BTreeMap<Module, BTreeSet<Module>>);

impl Imports {
    fn of(files: &BTreeMap<Module, String>) -> Self {
        let named: BTreeMap<_, _> =
            files.iter().map(|(module, source)| (module, names(source, module, files))).collect();
        let imports = files.keys().map(|module| {
            let found = named[module].iter().filter_map(|name| file_of(&name.path, &named, 0));
            let found = found.filter(|found| found != module);
            (module.clone(), found.collect())
        });
        Self(imports.collect())
    }

    /// What can be reached from a file, one import after the other.
    fn reach<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(self.0[module].iter().filter(|found| seen.insert(*found)));
        }
        seen
    }

    /// The files that reach themselves, each with those of its imports that lead back to it.
    fn circles(&self) -> Vec<String> {
        let reach: BTreeMap<_, _> = self.0.keys().map(|module| (module, self.reach(module))).collect();
        let circular = self.0.iter().filter(|(module, _)| reach[module].contains(module));
        let lines = circular.map(|(module, imports)| {
            let back = imports.iter().filter(|found| reach[found].contains(module)).map(|found| found.join("::"));
            format!("{} -> {}", module.join("::"), back.collect::<Vec<_>>().join(", "))
        });
        lines.collect()
    }
}

/// A path within the crate that a file names.
struct Name {
    path: Module,
    /// What it is called there, if a `use` brings it in.
    local: Option<String>,
}

/// The file that a path leads into: of its modules, the innermost that has one; or where that has it from.
fn file_of(path: &[String], named: &BTreeMap<&Module, Vec<Name>>, depth: usize) -> Option<Module> {
    let prefixes = (0..=path.len()).rev().map(|length| path.split_at(length));
    let (module, rest) = prefixes.into_iter().find(|(module, _)| named.contains_key(&module.to_vec()))?;
    let module = module.to_vec();
    let passed_on = rest.first().and_then(|name| {
        named[&module].iter().find(|found| found.local.as_ref() == Some(name)).map(|found| &found.path)
    });
    match passed_on {
        Some(origin) if depth < 8 => file_of(&[origin, &rest[1..]].concat(), named, depth + 1),
        _ => Some(module),
    }
}

/// The names and signs of a source, without comments, strings and what only tests compile.
fn words(source: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::<String>::new(), source);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            'r' if is_raw(rest) => {
                let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
                let end = format!("\"{}", "#".repeat(hashes));
                let from = hashes + 2;
                rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
            }
            '"' => string(rest),
            '\'' => character(rest),
            ':' if rest.starts_with("::") => {
                words.push("::".to_owned());
                2
            }
            name if name.is_alphanumeric() || name == '_' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                words.push(rest[..length].to_owned());
                length
            }
            space if space.is_whitespace() => space.len_utf8(),
            sign => {
                words.push(sign.to_string());
                sign.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    without_tests(&words)
}

fn is_raw(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"')
}

fn string(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, or the sign of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

/// Leaves `#[cfg(test)] mod … { … }` out.
fn without_tests(words: &[String]) -> Vec<String> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let begins = words[at..].iter().zip(marker).filter(|(word, mark)| word == mark).count() == marker.len();
        let module = begins && words.get(at + 7).is_some_and(|word| word == "mod");
        if module && words.get(at + 9).is_some_and(|word| word == "{") {
            at = end_of_block(words, at + 9);
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the brace that closes the one at `open`.
fn end_of_block(words: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate().skip(open) {
        match word.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    words.len()
}

/// The paths within the crate that a file names, from the root on.
fn names(source: &str, module: &Module, files: &BTreeMap<Module, String>) -> Vec<Name> {
    let words = words(source);
    let (mut found, mut at, mut here, mut open) = (Vec::new(), 0, module.clone(), Vec::new());
    while at < words.len() {
        match words[at].as_str() {
            // A module within the file.
            "mod" if words.get(at + 2).is_some_and(|word| word == "{") => {
                here.push(words[at + 1].clone());
                open.push(0);
                at += 1;
            }
            "{" => open.last_mut().into_iter().for_each(|open| *open += 1),
            "}" => {
                open.last_mut().into_iter().for_each(|open| *open -= 1);
                if open.last() == Some(&0) {
                    open.pop();
                    here.pop();
                }
            }
            "use" => {
                let end = words[at..].iter().position(|word| word == ";").map_or(words.len(), |length| at + length);
                tree(&words[at + 1..end], &Vec::new(), &mut |path, local| {
                    let path = absolute(path, &here, files);
                    found.extend(path.map(|path| Name { path, local: Some(local.to_owned()) }));
                });
                at = end;
            }
            // Who may see an item is no import.
            "in" if words[..at].ends_with(&["pub".to_owned(), "(".to_owned()]) => {
                at += words[at..].iter().position(|word| word == ")").unwrap_or_default();
            }
            _ if words.get(at + 1).is_some_and(|word| word == "::") && (at == 0 || words[at - 1] != "::") => {
                let pairs = words[at..].chunks(2).take_while(|pair| pair.len() == 2 && pair[1] == "::").count();
                let path: Vec<_> = words[at..].iter().step_by(2).take(pairs + 1).cloned().collect();
                found.extend(absolute(&path, &here, files).map(|path| Name { path, local: None }));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Calls `each` with every path of a `use` and what it is called, however its braces are nested.
fn tree(words: &[String], before: &Module, each: &mut impl FnMut(&Module, &str)) {
    let (mut path, mut local, mut at) = (before.clone(), "", 0);
    while at < words.len() {
        match words[at].as_str() {
            "::" | "as" => {}
            "," => {
                if !local.is_empty() {
                    each(&path, local);
                }
                (path, local) = (before.clone(), "");
            }
            "{" => {
                let end = end_of_block(words, at);
                tree(&words[at + 1..end - 1], &path, each);
                (local, at) = ("", end - 1);
            }
            name => {
                local = name;
                if at == 0 || words[at - 1] != "as" {
                    path.push(name.to_owned());
                }
            }
        }
        at += 1;
    }
    if !local.is_empty() {
        each(&path, local);
    }
}

/// The path from the root of the crate on, if it is one within the crate.
fn absolute(path: &Module, here: &Module, files: &BTreeMap<Module, String>) -> Option<Module> {
    let first = path.first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => here.clone(),
        _ if files.contains_key(&[here.as_slice(), &path[..1]].concat()) => {
            return Some([here.as_slice(), path].concat());
        }
        _ => return None,
    };
    for name in path.iter().skip(usize::from(first != "super")) {
        match name.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The sources below a folder, by module.
fn sources(folder: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let child = || [module.as_slice(), std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            sources(&path, &child(), found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let module = if ["lib", "main", "mod"].contains(&stem.as_str()) { module.clone() } else { child() };
            found.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn no_file_imports_what_imports_it() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut circles = Vec::new();
    for package in crates.chain([root().to_owned()]) {
        let name = package.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let mut files = BTreeMap::new();
        sources(&package.join("src"), &Vec::new(), &mut files);
        let found = Imports::of(&files).circles();
        if !NOT_YET.contains(&name.as_str()) {
            circles.extend(found.into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    assert_eq!(circles, [""; 0]);
}

#[test]
fn circles_are_found_by_the_paths_alone() {
    let circles = |files: &[(&str, &str)]| {
        let module = |name: &str| name.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Imports::of(&files.iter().map(|(name, source)| (module(name), (*source).to_owned())).collect()).circles()
    };
    let two = [("a", "use crate::b::{C, D as E};"), ("b", "fn f() -> crate::a::T {}")];
    assert_eq!(circles(&two), ["a -> b", "b -> a"]);
    assert_eq!(circles(&[("a", "use super::b;"), ("b", "use crate::{c, std}; use self::super::a::T;")]).len(), 2);
    assert_eq!(circles(&[("", "mod a; pub use a::T;"), ("a", "use crate::{T, U};")]).len(), 2, "through the root");
    assert_eq!(circles(&[("a", "mod b; use self::b::T;"), ("a::b", "use super::U;")]).len(), 2, "parent and child");
    assert_eq!(circles(&[("a", "mod c { use super::super::b; }"), ("b", "use crate::a;")]).len(), 2, "a module inside");
    for b in [
        "// use crate::a;",
        "/* crate::a::T */ const T: &str = \"crate::a::T\"; const U: &str = r#\"use crate::a; \"#;",
        "#[cfg(test)] mod tests { use crate::a::T; }",
        "pub(in crate::a) fn f() {}",
        "const QUOTE: char = '\"'; fn f<'a>() {} use std::a::T;",
    ] {
        assert_eq!(circles(&[("a", "use crate::b;"), ("b", b)]), [""; 0], "{b}");
    }
}
