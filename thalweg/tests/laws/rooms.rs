//! What the crates of the workspace show of each other.

use crate::{files, read};
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

/// What `thalweg-cluster` needs of the engine and programs do not see. Each word more is one that the engine cannot change by itself.
const WORKER: &str = "Acknowledgement Agent Announced AttemptPlan BUFFER_BYTES_KEPT Carried ChannelNumber ChannelWatch CoreOrder Counter \
     Deployment Farewell FrameDoor FrameError FrameHeader FrameKind FromSubtask HEADER_BYTES Placement Lifeline LifelineEnd LinkFailure Links Member \
     MetricRegistry Muster OperatorId PAYLOAD_BYTES_MAX Packer Peer Place PreparedEpoch Recruit Recruiter Recruiting RemoteChannel RestorePlan Seat \
     CoreShared SnapshotPlace Subject TaskShape ToCoordinator ToSubtask ToWorker Unpacker WorkerId panic_text run_core shape_of";

#[test]
fn the_door_to_the_cluster_is_as_wide_as_it_is_written_here_and_no_program_sees_it() {
    let list: BTreeSet<String> = WORKER.split_whitespace().map(str::to_owned).collect();
    assert_eq!(shown(&read("kernel/src/worker/mod.rs")), list);
    for path in ["thalweg/src", "cli/src", "metrics/src", "connectors/src"].iter().flat_map(|folder| files(folder, "rs")) {
        assert!(!read(&path).contains("::worker::"), "{path}: `thalweg_kernel::worker` is for the cluster alone");
    }
    let users: Vec<_> = files("cluster/src", "rs").into_iter().map(|path| read(&path)).collect();
    let unused: Vec<_> = list.iter().filter(|name| !users.iter().any(|source| source.contains(name.as_str()))).collect();
    assert!(unused.is_empty(), "the cluster does not need {unused:?}");
}

#[test]
fn the_wings_to_come_stand_on_what_jobs_see() {
    let wings = files("thalweg/tests/wings", "rs");
    assert_eq!(wings.len(), 4, "{wings:?}: SQL, a console, Python, and what runs them");
    for path in wings {
        let source = read(&path);
        let used = source.lines().filter_map(|line| line.strip_prefix("use ")).filter_map(|line| line.split(':').next());
        let others: Vec<_> = used.filter(|name| !["thalweg", "std"].contains(name)).collect();
        assert!(others.is_empty() && !source.contains("thalweg_"), "{path} uses {others:?}, and is to use thalweg alone");
    }
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
    let (mut engine, facade) = (shown(&read("kernel/src/lib.rs")), shown(&read("thalweg/src/lib.rs")));
    assert!(engine.remove("worker") && !facade.contains("worker"), "that is for the cluster");
    assert!(engine.len() > 50, "{engine:?}: has the form of the file changed?");
    let missing: Vec<_> = engine.difference(&facade).collect();
    assert!(missing.is_empty(), "thalweg/src/lib.rs does not show {missing:?}");
}
