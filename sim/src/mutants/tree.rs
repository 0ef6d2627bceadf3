//! The scratch copy of the repository in which mutants are built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The profile in which mutants are built: build time matters more than speed.
const PROFILE: [&str; 6] = [
    "profile.mutants.inherits=\"release\"",
    "profile.mutants.opt-level=1",
    "profile.mutants.incremental=true",
    "profile.mutants.codegen-units=256",
    "profile.mutants.debug=false",
    // Bugs that a test build's assertions find must be found without them, too.
    "profile.mutants.debug-assertions=false",
];

/// How many lines of a failed command's output are shown.
const LINES_TOLD: usize = 6;

/// A planted bug.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    /// The name of its file without `.patch`.
    pub(super) name: String,
    /// A description of the bug.
    pub(super) bug: String,
    patch: PathBuf,
}

/// The patches in `folder`, by name.
pub(super) fn mutants(folder: &Path) -> Result<Vec<Mutant>, String> {
    let cannot = |error| format!("{} cannot be read: {error}", folder.display());
    let mut mutants = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let patch = entry.map_err(cannot)?.path();
        let Some(name) = patch.file_name().and_then(|name| name.to_str()?.strip_suffix(".patch")) else { continue };
        let text = std::fs::read_to_string(&patch).map_err(|error| format!("{} cannot be read: {error}", patch.display()))?;
        let bug = text.lines().next().filter(|line| !line.is_empty() && !line.starts_with("diff ")).unwrap_or_default();
        if bug.is_empty() {
            return Err(format!("the first line of {} does not say what is wrong with the mutant", patch.display()));
        }
        mutants.push(Mutant { name: name.to_owned(), bug: bug.to_owned(), patch: patch.clone() });
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

/// The root of the repository that contains the working directory.
pub(super) fn repository() -> Result<PathBuf, String> {
    let root = run(Command::new("git").args(["rev-parse", "--show-toplevel"]))?;
    Ok(PathBuf::from(root.trim_end()))
}

/// The abbreviated commit that is mutated, with a `+` if uncommitted changes are included.
pub(super) fn commit(uncommitted: bool) -> Result<String, String> {
    let commit = run(Command::new("git").args(["rev-parse", "--short", "HEAD"]))?;
    let is_changed = uncommitted && !run(Command::new("git").args(["status", "--porcelain"]))?.is_empty();
    Ok(format!("{}{}", commit.trim_end(), if is_changed { "+" } else { "" }))
}

/// A copy of the repository with builds of its own.
pub(super) struct ScratchTree {
    tree: PathBuf,
    target: PathBuf,
    jobs: usize,
}

impl ScratchTree {
    /// Copies the last commit, or the working tree. Unchanged files keep their modification time, so that earlier builds are reused.
    pub(super) fn make(repository: &Path, scratch: &Path, uncommitted: bool, jobs: usize) -> Result<Self, String> {
        let cannot = |what: &Path, error| format!("{} cannot be written: {error}", what.display());
        std::fs::create_dir_all(scratch).map_err(|error| cannot(scratch, error))?;
        let scratch = scratch.canonicalize().map_err(|error| cannot(scratch, error))?;
        if scratch.starts_with(repository) {
            return Err(format!(
                "{} lies in the repository, where git and cargo would find it; choose another --scratch",
                scratch.display()
            ));
        }
        let fresh = scratch.join("fresh");
        drop(std::fs::remove_dir_all(&fresh));
        std::fs::create_dir_all(&fresh).map_err(|error| cannot(&fresh, error))?;
        let list = if uncommitted {
            // The index still lists deleted files.
            "git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [ -e \"$f\" ] && printf '%s\\0' \"$f\"; done \
             | tar -c --null -T - -f -"
        } else {
            "git archive HEAD"
        };
        let copy = format!("set -o pipefail; {list} | tar -x -f - -C \"$0\"");
        run(Command::new("bash").args(["-c", &copy]).arg(&fresh).current_dir(repository))?;
        let tree = scratch.join("tree");
        std::fs::create_dir_all(&tree).map_err(|error| cannot(&tree, error))?;
        update(&fresh, &tree)?;
        Ok(Self { tree, target: scratch.join("target"), jobs })
    }

    /// Applies the mutant's patch.
    pub(super) fn apply(&self, mutant: &Mutant) -> Result<(), String> {
        self.git_apply(&[], mutant).map_err(|reason| format!("the patch does not apply any more: {reason}"))
    }

    /// Reverts the mutant's patch.
    pub(super) fn take_back(&self, mutant: &Mutant) -> Result<(), String> {
        self.git_apply(&["--reverse"], mutant)
    }

    fn git_apply(&self, options: &[&str], mutant: &Mutant) -> Result<(), String> {
        let mut git = Command::new("git");
        // In a folder inside another repository git would silently change nothing.
        git.args(["apply", "--whitespace=nowarn"]).args(options).arg(&mutant.patch).current_dir(&self.tree);
        run(git.env("GIT_CEILING_DIRECTORIES", &self.tree).env("GIT_DIR", "/dev/null")).map(drop)
    }

    /// Builds the simulator. Returns the path of its program.
    pub(super) fn build(&self) -> Result<PathBuf, String> {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--color=never", "-p", "thalweg-sim", "--bin", "thalweg-sim", "--profile", "mutants"]);
        for setting in PROFILE {
            cargo.args(["--config", setting]);
        }
        cargo.arg(format!("--jobs={}", self.jobs)).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // Use the flags of the tree's own configuration, not those of our build.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        run(&mut cargo).map_err(|reason| format!("it does not compile: {reason}"))?;
        Ok(self.target.join("mutants/thalweg-sim"))
    }
}

/// Makes `to` equal to `from`; files that are already equal stay untouched.
fn update(from: &Path, to: &Path) -> Result<(), String> {
    let cannot = |what: &Path| {
        let what = what.display().to_string();
        move |error: std::io::Error| format!("{what} cannot be brought up to date: {error}")
    };
    let names = |folder: &Path| -> Result<Vec<std::ffi::OsString>, String> {
        let entries = std::fs::read_dir(folder).map_err(cannot(folder))?;
        entries.map(|entry| Ok(entry.map_err(cannot(folder))?.file_name())).collect()
    };
    let wanted = names(from)?;
    for name in names(to)?.into_iter().filter(|name| !wanted.contains(name)) {
        let gone = to.join(name);
        if gone.is_dir() { std::fs::remove_dir_all(&gone) } else { std::fs::remove_file(&gone) }.map_err(cannot(&gone))?;
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            std::fs::create_dir_all(&to).map_err(cannot(&to))?;
            update(&from, &to)?;
            continue;
        }
        let content = std::fs::read(&from).map_err(cannot(&from))?;
        if std::fs::read(&to).ok().as_ref() != Some(&content) {
            std::fs::write(&to, content).map_err(cannot(&to))?;
        }
    }
    Ok(())
}

/// Runs a command to its end and returns its output; if it fails, the first lines of its error output.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_telling = |line: &&str| !line.trim().is_empty() && !line.starts_with("warning");
    let told: Vec<&str> = complaint.lines().filter(is_telling).take(LINES_TOLD).map(str::trim_end).collect();
    Err(format!("{program} failed: {}", told.join("; ")))
}
