//! What the crates of the workspace show of each other.

use crate::read;
use std::collections::BTreeSet;

/// The words that `source` makes public at its root: those of `pub mod` and `pub use`, without the paths they come from.
fn shown(source: &str) -> BTreeSet<String> {
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
    let statements = code.split(';').filter_map(|it| it.split_once("pub mod ").or_else(|| it.split_once("pub use ")));
    let mut names = BTreeSet::new();
    for (_, item) in statements {
        let list = item.rsplit_once('{').map_or_else(|| item.rsplit("::").next().unwrap_or(item), |(_, list)| list);
        let items = list.trim_end_matches([' ', '}']).split(',').map(|name| name.rsplit(" as ").next().unwrap_or(name).trim());
        names.extend(items.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    names
}

#[test]
fn a_job_sees_all_connectors() {
    let mut connectors = shown(&read("connectors/src/lib.rs"));
    connectors.extend(shown(&read("kernel/src/connectors/mod.rs")));
    // For the command line, which looks at a folder before a job does.
    assert!(connectors.remove("owner_report"));
    let missing: Vec<_> = connectors.difference(&shown(&read("thalweg/src/connectors.rs"))).cloned().collect();
    assert!(connectors.len() > 20 && missing.is_empty(), "thalweg/src/connectors.rs does not show {missing:?}");
}

#[test]
fn a_job_sees_all_that_the_engine_shows() {
    let (engine, facade) = (shown(&read("kernel/src/lib.rs")), shown(&read("thalweg/src/lib.rs")));
    assert!(engine.len() > 50, "{engine:?}: has the form of the file changed?");
    let missing: Vec<_> = engine.difference(&facade).collect();
    assert!(missing.is_empty(), "thalweg/src/lib.rs does not show {missing:?}");
}
