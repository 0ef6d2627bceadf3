//! The documents against the code: paragraphs that are cited exist, dependencies are argued, links lead somewhere.

use crate::manifest::{CRATES, Kind, dependencies};
use crate::{files, read, root};
use std::collections::{BTreeMap, BTreeSet};

const SEMANTICS: &str = "docs/src/semantics.md";

/// The paragraphs that `text` cites: of `docs/src/semantics.md#w-4, #w-5` both.
fn cited(text: &str) -> BTreeSet<String> {
    let is_name = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    let citations = text.lines().filter_map(|line| line.split_once("semantics.md#"));
    citations.flat_map(|(_, names)| names.split('#')).map(|name| name.chars().take_while(is_name).collect()).collect()
}

/// The numbers of the laws that `text` cites: of `law 9` and of `Law 10.`
fn cited_laws(text: &str) -> Vec<u32> {
    let text = text.to_lowercase();
    let behind = |(at, word): (usize, &str)| text[at + word.len()..].chars().take_while(char::is_ascii_digit).collect::<String>();
    text.match_indices("law ").map(behind).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn every_law_that_is_cited_stands_in_the_architecture() {
    let text = read("docs/src/architecture.md");
    let (_, laws) = text.split_once("## The laws").expect("they have a section");
    let numbers = laws.lines().filter_map(|line| line.split_once(". **")?.0.parse::<u32>().ok());
    assert!(numbers.eq(1..=11), "the laws are numbered through");
    for path in CRATES.iter().flat_map(|folder| files(folder, "rs")).chain(files("docs/src", "md")) {
        let unknown: Vec<u32> = cited_laws(&read(&path)).into_iter().filter(|law| !(1..=11).contains(law)).collect();
        assert!(unknown.is_empty(), "{path} cites laws that there are not: {unknown:?}");
    }
}

#[test]
fn every_paragraph_of_the_semantics_is_cited_and_every_citation_leads_to_one() {
    let text = read(SEMANTICS);
    let anchors = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let mut defined = BTreeSet::new();
    for (name, _) in anchors {
        assert!(defined.insert(name.to_owned()), "{SEMANTICS} defines {name} twice");
        assert!(text.contains(&format!("<a id=\"{name}\"></a>**{name}**")), "{name} is not shown where it is defined");
    }
    let mut used = BTreeMap::new();
    for path in CRATES.iter().flat_map(|folder| files(folder, "rs")).filter(|path| !path.contains("/tests/laws/")) {
        let source = read(&path);
        assert!(!source.contains("docs/semantics.md"), "{path}: the rules are in {SEMANTICS}");
        used.extend(cited(&source).into_iter().map(|name| (name, path.clone())));
    }
    for (name, path) in &used {
        assert!(defined.contains(name), "{path} cites {SEMANTICS}#{name}, which is not there");
    }
    for name in &defined {
        assert!(used.contains_key(name), "nothing in the code cites {SEMANTICS}#{name}: cite it where it is kept, or drop it");
    }
    for name in cited(&text.replace("](#", "](semantics.md#")) {
        assert!(defined.contains(&name), "{SEMANTICS} refers to its own #{name}, which is not there");
    }
}

/// The rows `| name | crates | why |` of the list of dependencies.
fn argued() -> BTreeMap<String, (BTreeSet<String>, String)> {
    let text = read("docs/src/dependencies.md");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        Some((cells.next()?, (cells.next()?.split(", ").map(str::to_owned).collect(), cells.next()?)))
    });
    rows.collect()
}

#[test]
fn every_dependency_is_argued_and_none_is_argued_that_is_not_there() {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in CRATES {
        for name in dependencies(folder, Kind::Any).into_iter().filter(|name| !name.starts_with("thalweg")) {
            wanted.entry(name).or_default().insert(folder.rsplit('/').next().unwrap_or(folder).to_owned());
        }
    }
    let argued = argued();
    for (name, crates) in &wanted {
        let (listed, why) = argued.get(name).unwrap_or_else(|| panic!("docs/src/dependencies.md does not say why {crates:?} need {name}"));
        assert_eq!(listed, crates, "the crates that use {name}, in docs/src/dependencies.md and in the manifests");
        assert!(why.len() > 30, "one line on why {name} is there, please");
    }
    for name in argued.keys() {
        assert!(wanted.contains_key(name), "docs/src/dependencies.md argues for {name}, which no manifest names");
    }
    for name in dependencies(".", Kind::Any).iter().filter(|name| !name.starts_with("thalweg")) {
        assert!(wanted.contains_key(name), "Cargo.toml declares {name}, and no crate uses it");
    }
}

#[test]
fn the_dependencies_of_the_engine_are_shown() {
    let text = read("docs/src/dependencies.md");
    let (_, tree) = text.split_once("```text\nthalweg-kernel\n").expect("the tree of the engine stands in the page");
    let shown = tree.lines().map_while(|line| Some(line.split_once("── ")?.1.to_owned()));
    assert_eq!(shown.collect::<BTreeSet<_>>(), dependencies("kernel", Kind::Built));
}

/// The targets of Markdown links in `text`, those outside the repository left out.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#') && !target.contains(' '));
    local.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let pages = files("docs", "md").into_iter().chain(["README.md", "CHANGELOG.md"].map(str::to_owned));
    for page in pages {
        let folder = root().join(&page).parent().expect("a file lies in a folder").to_owned();
        for link in links(&read(&page)) {
            assert!(folder.join(&link).exists(), "{page} links to {link}, which is not there");
        }
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let summary: BTreeSet<String> = links(&read("docs/src/SUMMARY.md")).into_iter().collect();
    for page in files("docs/src", "md") {
        let name = page.trim_start_matches("docs/src/");
        assert!(name == "SUMMARY.md" || summary.contains(name), "docs/src/SUMMARY.md does not name {name}");
    }
}

#[test]
fn the_first_page_gives_the_two_commands_once_each() {
    let readme = read("README.md");
    for mark in ["<!-- first command -->", "<!-- second command -->"] {
        let after = readme.split_once(mark).unwrap_or_else(|| panic!("README.md has no {mark}, by which .ci/run finds the command")).1;
        let block = after.trim_start().strip_prefix("```sh\n").and_then(|block| block.split_once("\n```"));
        let (command, _) = block.unwrap_or_else(|| panic!("a block of sh follows {mark}"));
        assert!(command.starts_with("cargo ") && !command.contains('\n'), "one command follows {mark}, not {command:?}");
        assert_eq!(readme.matches(mark).count(), 1);
    }
}

/// Whether a part of the code map names a file: in the item that names its folder too, so that a name which stands for another file does not count.
fn is_named(map: &str, sources: &str, path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or_default();
    let room = folder.strip_prefix(sources).unwrap_or_default().trim_start_matches('/');
    let last = room.rsplit('/').next().unwrap_or(room);
    let is_of_room = |item: &str| room.is_empty() || item.contains(&format!("`{room}/")) || item.contains(&format!("`{last}/"));
    map.split("\n- ").any(|item| is_of_room(item) && (file == "mod.rs" || item.contains(&format!("{file}`"))))
}

/// The part of the code map between two headings.
fn part_of_map(from: &str, to: &str) -> String {
    let map = read("docs/src/architecture.md");
    let (_, part) = map.split_once(from).unwrap_or_else(|| panic!("the map has a part {from}"));
    part.split_once(to).expect("the next part follows").0.to_owned()
}

/// A reader who opens a file for the first time finds in the code map what it is for.
#[test]
fn the_code_map_names_every_file_of_the_engine_and_the_entry_files_of_the_simulator() {
    let engine = part_of_map("### `kernel/`: the engine", "### `cluster/`");
    let is_code = |path: &String| !path.ends_with("tests.rs");
    let mut unnamed: Vec<_> =
        files("kernel/src", "rs").into_iter().filter(is_code).filter(|path| !is_named(&engine, "kernel/src", path)).collect();
    let simulator = part_of_map("### `sim/`: the other world", "### `bench/`");
    let all = files("sim/src", "rs");
    let entries = all.iter().filter(|path| path.matches('/').count() == 2 || path.ends_with("/mod.rs"));
    unnamed.extend(entries.filter(|path| !is_named(&simulator, "sim/src", path)).cloned());
    assert!(unnamed.is_empty(), "docs/src/architecture.md does not name {unnamed:?}");
}
