//! Arrows run one way, also between the files of a crate: a file that names another is not named by it in turn, but where this page says why.
//!
//! Read are `use` declarations and paths that begin with `crate::` or `super::`, wherever they stand; a name that a `mod.rs` shows on is followed to the file
//! it comes from. Test modules are left out, and so are methods: that a value is of a type which another file gives more methods names nobody.

use crate::{files, read};
use std::collections::{BTreeMap, BTreeSet};

/// Crates that are read, by the folder of their sources.
const READ: &[&str] =
    &["kernel/src", "kernel/record/src", "storage/src", "io/src", "cluster/src", "connectors/src", "cli/src", "metrics/src"];

/// The circles that there are, by crate and files, each with its reason.
const EXPLAINED: &[(&str, &str)] = &[
    // The streams of a user make each other: `map` on one gives another, `key_by` a keyed one, `process` on that one without a key.
    ("kernel/src", "api/connected_streams api/keyed_stream api/stream"),
    // Two halves of one operator: what it does with a record, and what it does with a watermark.
    ("kernel/src", "operators/window/firing operators/window/running"),
    // Twins: keys are written as bytes and read back.
    ("kernel/record/src", "record/key record/key_source"),
    // A descriptor closes itself through the ring that owns it.
    ("io/src", "uring/descriptor uring/raw"),
];

/// Files of one crate by the path of their module: `["exchange", "gate"]`.
type Modules = BTreeMap<Vec<String>, String>;

fn module_of(source: &str, path: &str) -> Vec<String> {
    let inner = path.strip_prefix(source).unwrap_or(path).trim_start_matches('/').trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The code of a file without comments and what follows its first test module.
fn code(path: &str) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths that a `use` tree stands for.
fn spread(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()];
    };
    let head: Vec<String> = head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut begin, mut branches) = (0, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&inner[begin..]);
    let paths = branches.into_iter().filter(|branch| !branch.trim().is_empty()).flat_map(spread);
    paths.map(|path| head.iter().cloned().chain(path).collect()).collect()
}

/// Where in a statement a `use` declaration begins that ends it, and whether it shows on what it names.
fn use_in(statement: &str) -> Option<(usize, bool)> {
    let at = statement.rfind("use ").filter(|at| statement[..*at].ends_with(['\n', ' ']) || *at == 0)?;
    let before = statement[..at].rsplit('\n').next().unwrap_or_default().trim();
    (before.is_empty() || before.starts_with("pub")).then_some((at, before.starts_with("pub")))
}

/// The paths in `code` that are written out where they are used.
fn written_out(code: &str) -> Vec<Vec<String>> {
    let is_of_a_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let paths = |text: &str| -> Vec<Vec<String>> {
        let words =
            text.split(|character| !is_of_a_path(character)).filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
        words.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
    };
    code.split(';').flat_map(|statement| paths(use_in(statement).map_or(statement, |(at, _)| &statement[..at]))).collect()
}

/// The paths that `code` names, each with whether it shows it on.
fn uses(code: &str) -> Vec<(bool, Vec<String>)> {
    let declared = code.split(';').filter_map(|statement| use_in(statement).map(|(at, is_shown)| (&statement[at + 4..], is_shown)));
    let declared = declared.flat_map(|(tree, is_shown)| spread(tree).into_iter().map(move |path| (is_shown, path)));
    declared.chain(written_out(code).into_iter().map(|path| (false, path))).collect()
}

/// The module that `path`, as written in `from`, begins in, and what is left of it.
fn start(from: &[String], path: &[String], modules: &Modules) -> Option<(Vec<String>, Vec<String>)> {
    let mut at = from.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str)? {
        "crate" => (at, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop();
                rest = &rest[1..];
            }
        }
        child => {
            let inner: Vec<String> = at.iter().cloned().chain([child.to_owned()]).collect();
            modules.contains_key(&inner).then_some(())?;
        }
    }
    Some((at, rest.to_vec()))
}

/// The file in which what `path` names is written.
fn follow(
    from: &[String],
    path: &[String],
    modules: &Modules,
    shown: &BTreeMap<Vec<String>, Vec<Vec<String>>>,
    steps: usize,
) -> Option<Vec<String>> {
    let (mut at, rest) = start(from, path, modules)?;
    for (place, part) in rest.iter().enumerate() {
        let inner: Vec<String> = at.iter().cloned().chain([part.clone()]).collect();
        if modules.contains_key(&inner) {
            at = inner;
            continue;
        }
        let shown_here = shown.get(&at).into_iter().flatten().find(|path| path.last() == Some(part));
        if let Some(further) = shown_here.filter(|_| steps > 0) {
            let further: Vec<String> = further.iter().cloned().chain(rest[place + 1..].iter().cloned()).collect();
            return follow(&at, &further, modules, shown, steps - 1).or(Some(at));
        }
        break;
    }
    Some(at)
}

/// Which files of a crate each of them names.
fn arrows(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let paths = files(source, "rs").into_iter().filter(|path| !path.ends_with("tests.rs") && !path.contains("/bin/"));
    let modules: Modules = paths.map(|path| (module_of(source, &path), path)).collect();
    let declared: BTreeMap<_, _> = modules.iter().map(|(module, path)| (module.clone(), uses(&code(path)))).collect();
    let shown = declared
        .iter()
        .map(|(module, uses)| (module.clone(), uses.iter().filter(|(is_shown, _)| *is_shown).map(|(_, path)| path.clone()).collect()));
    let shown = shown.collect();
    let mut arrows = BTreeMap::new();
    for (module, uses) in &declared {
        let own = &modules[module];
        let to: BTreeSet<String> = uses
            .iter()
            .filter(|(is_shown, _)| !is_shown)
            .filter_map(|(_, path)| modules.get(&follow(module, path, &modules, &shown, 8)?).cloned())
            .filter(|file| file != own)
            .collect();
        arrows.insert(own.clone(), to);
    }
    arrows
}

/// The files that can be reached from `from`.
fn reach<'a>(from: &'a str, arrows: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        let new = arrows.get(file).into_iter().flatten().map(String::as_str).filter(|file| reached.insert(*file));
        next.extend(new.collect::<Vec<_>>());
    }
    reached
}

/// The circles of a crate: sets of files of which each reaches every other.
fn circles(source: &str) -> BTreeSet<BTreeSet<String>> {
    let arrows = arrows(source);
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (file.as_str(), reach(file, &arrows))).collect();
    let circle = |file: &str| -> BTreeSet<String> {
        let back = |other: &&&str| reached[**other].contains(file);
        reached[file]
            .iter()
            .filter(|other| reached.contains_key(**other))
            .filter(|other| back(other))
            .map(|other| (*other).to_owned())
            .collect()
    };
    arrows.keys().map(|file| circle(file)).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn files_name_each_other_in_circles_only_where_it_is_said_why() {
    let explained = EXPLAINED
        .iter()
        .map(|(source, names)| -> BTreeSet<String> { names.split_whitespace().map(|name| format!("{source}/{name}.rs")).collect() });
    let explained: BTreeSet<BTreeSet<String>> = explained.collect();
    let found: BTreeSet<BTreeSet<String>> = READ.iter().flat_map(|source| circles(source)).collect();
    let shown = |circles: Vec<&BTreeSet<String>>| circles.iter().map(|circle| format!("{circle:?}")).collect::<Vec<_>>().join("\n  ");
    let new: Vec<_> = found.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "circles that nobody explains:\n  {}\nexplained, and not there:\n  {}",
        shown(new),
        shown(gone)
    );
}
