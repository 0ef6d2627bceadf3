//! Shows any durable file of a checkpoint folder to people, entry by entry.
//!
//! ```text
//! cargo run -p thalweg-storage --example dump -- [--entries N] [--bytes N] FILE...
//! ```
//!
//! It knows no type of Rust: keys and values are shown as bytes, beside the layouts that say what they are (docs/src/formats.md). Nothing is shown of what
//! follows the header unless every byte of the file is as it was written, and an error names the file, the offset and the cause. A file is mapped and not
//! read into memory: it may be larger than that.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a tool that looks at the engine's files from outside")]

use memmap2::Mmap;
use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use thalweg_io::Buffer;
use thalweg_record::HashRange;
use thalweg_storage::checkpoint::{
    CheckpointError, FileHeader, FileKind, ImageMemory, LogEntry, Metadata, RawEntries, RawEntry, Scope, Section, Snapshot, StateSummary,
    take_namespace,
};

const HELP: &str = "\
Shows the content of durable files: snapshots (*.state), metadata (*.metadata), entries of the log (*.entry, *.head), owners (.thalweg-owner-*).

Usage: dump [OPTIONS] FILE...

Options:
  --entries N  of each section show the first N entries [default: 10]
  --bytes N    of each key and value show the first N bytes [default: 64]
  --help       show this
";

/// The first bytes of the file that names the owner of an output folder.
const OWNER_MAGIC: &[u8] = b"thalweg-owner ";

type Outcome = Result<(), Box<dyn Error>>;

/// What the command line asks for.
struct Args {
    files: Vec<String>,
    limits: Limits,
}

/// How much is shown.
#[derive(Clone, Copy)]
struct Limits {
    /// The entries of a section.
    entries: usize,
    /// The bytes of a key, of a value, of a section without entries.
    bytes: usize,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("dump: {reason}; see --help");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        match show_file(&mut stdout().lock(), file, args.limits) {
            Ok(()) => {}
            // Whoever reads has seen enough.
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) => return code,
            Err(error) => {
                eprintln!("dump: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// The arguments; `None` if help is asked for.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args { files: Vec::new(), limits: Limits { entries: 10, bytes: 64 } };
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|number| number.parse().ok()).ok_or_else(|| format!("{word} needs a number"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--entries" => args.limits.entries = number()?,
            "--bytes" => args.limits.bytes = number()?,
            option if option.starts_with('-') => return Err(format!("there is no option {option}")),
            _ => args.files.push(word),
        }
    }
    if args.files.is_empty() { Err("no file is given".to_owned()) } else { Ok(Some(args)) }
}

fn show_file(out: &mut impl Write, file: &str, limits: Limits) -> Outcome {
    show(out, file, map(file).map_err(|error| format!("{file}: {error}"))?, limits)
}

fn show(out: &mut impl Write, file: &str, bytes: impl ImageMemory + 'static, limits: Limits) -> Outcome {
    if bytes.starts_with(OWNER_MAGIC) {
        writeln!(out, "{file}: the owner of an output folder, {} bytes, a text that is shown as it is and not checked", bytes.len())?;
        return Ok(write!(out, "{}", String::from_utf8_lossy(&bytes))?);
    }
    let FileHeader { kind, version, length, crc } = FileHeader::read(file, &bytes).map_err(located)?;
    let name = kind.map_or("of a kind that this program does not know", FileKind::name);
    write!(out, "{file}: {name}, version {version}, {} bytes", bytes.len())?;
    // A snapshot is written before its length is known.
    if kind == Some(FileKind::Snapshot) {
        writeln!(out)?
    } else {
        writeln!(out, ", a body of {length} bytes with crc {crc:08x}")?
    }
    match kind {
        Some(FileKind::Snapshot) => show_snapshot(out, file, &Snapshot::parse_shared(file, Arc::new(bytes)).map_err(located)?, limits),
        Some(FileKind::Metadata) => show_metadata(out, file, &bytes, limits),
        Some(FileKind::LogEntry) => {
            let entry = LogEntry::decode(file, &bytes).map_err(located)?;
            Ok(writeln!(out, "{}", serde_json::to_string_pretty(&entry)?)?)
        }
        None => Err(format!("{file}, byte 8: the kind is none of snap, meta and logn: use a newer version of Thalweg").into()),
    }
}

fn map(file: &str) -> std::io::Result<Mmap> {
    let opened = File::open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "is not a file"));
    }
    // SAFETY: nobody writes to the file while it is mapped. It was written once, under a name that is never used again, and removing it leaves what is mapped
    // as it is (docs/src/formats.md#rules). Somebody who writes to it all the same makes this program show bytes that were not checked, and somebody who
    // cuts it off ends this program with SIGBUS. Nothing else depends on it.
    unsafe { Mmap::map(&opened) }
}

/// The error with file, offset and cause, in this order.
fn located(error: CheckpointError) -> String {
    match error {
        CheckpointError::Corrupt { file, offset, reason } => format!("{file}, byte {offset}: {reason}"),
        CheckpointError::Foreign { file, reason } => format!("{file}, byte 0: the file {reason}"),
        CheckpointError::UnknownVersion { file, found, known } => {
            format!("{file}, byte 12: the format has version {found}, and this program reads version {known}")
        }
        other => other.to_string(),
    }
}

fn show_metadata(out: &mut impl Write, file: &str, bytes: &[u8], limits: Limits) -> Outcome {
    // Images within metadata are small.
    let decoded = Metadata::decode(file, Buffer::from(bytes)).map_err(located)?;
    writeln!(out, "{}", serde_json::to_string_pretty(&decoded.metadata)?)?;
    for (place, snapshot) in &decoded.inline {
        let of = decoded.metadata.snapshots.get(*place);
        let (task, subtask) = of.map_or(("", 0), |of| (of.task.as_str(), of.subtask));
        writeln!(out, "\nthe snapshot of subtask {subtask} of {task}, {} bytes at {}", snapshot.image_bytes(), snapshot.offset())?;
        show_snapshot(out, file, snapshot, limits)?;
    }
    Ok(())
}

fn show_snapshot(out: &mut impl Write, file: &str, snapshot: &Snapshot, limits: Limits) -> Outcome {
    writeln!(out, "root crc {:08x}", snapshot.root_crc())?;
    for (state, number) in snapshot.states().zip(0..) {
        let StateSummary { operator, state: name, layout, builds_on_earlier, sections, entries, bytes } = &state;
        let builds = if *builds_on_earlier { "builds on earlier snapshots" } else { "all of it is here" };
        writeln!(out, "\nstate {number}: {name:?} of operator {operator:?}")?;
        writeln!(out, "  {builds}; {sections} sections, {entries} entries, {bytes} bytes")?;
        if layout.value.text().is_empty() {
            writeln!(out, "  without a layout: bytes of the operator's own")?;
        } else {
            writeln!(out, "  key {}, value {}", layout.key.text(), layout.value.text())?;
        }
        for section in snapshot.sections(operator, name) {
            let at = snapshot.offset() + section.offset;
            let (scope, crc) = (shown(section.scope), crc32fast::hash(section.bytes));
            writeln!(out, "  {scope}: {} entries, {} bytes at {at}, crc {crc:08x}", section.entries, section.bytes.len())?;
            if layout.value.text().is_empty() {
                writeln!(out, "    {}", hex(section.bytes, limits.bytes))?;
            } else {
                show_entries(out, file, section, at, limits)?;
            }
        }
    }
    Ok(())
}

/// Shows the first entries of a section that begins at byte `at` of the file. All are looked at.
fn show_entries(out: &mut impl Write, file: &str, section: Section<'_>, at: usize, limits: Limits) -> Outcome {
    let mut bytes = section.bytes;
    let mut count = 0;
    if section.scope == Scope::Namespaces {
        let namespaces = std::iter::from_fn(|| take_namespace(&mut bytes));
        for (first, second) in namespaces.take(limits.entries) {
            writeln!(out, "    namespace {first} {second}")?;
        }
        return Ok(());
    }
    if let Scope::AllHashesWithin(_) = section.scope {
        let (first, second) = take_namespace(&mut bytes).ok_or_else(|| format!("{file}, byte {at}: there is no namespace"))?;
        writeln!(out, "    all in namespace {first} {second}")?;
    }
    let mut entries = RawEntries::new(bytes);
    loop {
        let entry_at = section.bytes.len() - entries.rest().len();
        let Some(entry) = entries.next() else { break };
        let RawEntry { namespace, key, value } = entry.map_err(|reason| format!("{file}, byte {}: {reason}", at + entry_at))?;
        if count < limits.entries as u64 {
            let flags = section.bytes.get(entry_at).copied().unwrap_or_default();
            let namespace = namespace.map_or_else(String::new, |(first, second)| format!(" namespace {first} {second}"));
            let value = value.map_or_else(|| "tombstone".to_owned(), |value| format!("value {}", hex(value, limits.bytes)));
            writeln!(out, "    {} flags {flags}{namespace} key {} {value}", at + entry_at, hex(key, limits.bytes))?;
        }
        count += 1;
    }
    if count != section.entries {
        return Err(format!("{file}, byte {at}: the section has {count} entries, and the index says {}", section.entries).into());
    }
    if count > limits.entries as u64 {
        writeln!(out, "    and {} more", count - limits.entries as u64)?;
    }
    Ok(())
}

fn shown(scope: Scope) -> String {
    match scope {
        Scope::Hashes(HashRange { first, last }) => format!("keys with hashes {first:08x} to {last:08x}"),
        Scope::AllHashes(HashRange { first, last }) => format!("all keys with hashes {first:08x} to {last:08x}"),
        Scope::AllHashesWithin(HashRange { first, last }) => format!("all keys of a namespace with hashes {first:08x} to {last:08x}"),
        Scope::Namespaces => "the namespaces that there are".to_owned(),
        Scope::Split(number) => format!("split {number}"),
        Scope::Subtask => "subtask".to_owned(),
    }
}

/// Bytes as hexadecimal digits, those above the limit as their number.
fn hex(bytes: &[u8], limit: usize) -> String {
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let mut text: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes.is_empty() {
        text.push('-');
    }
    if shown.len() < bytes.len() {
        text += &format!("... ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA: &[u8] = include_bytes!("../tests/golden/snap-v5-delta");
    const INLINE: &[u8] = include_bytes!("../tests/golden/meta-v4-inline-snap-v5");
    const FINISHED: &[u8] = include_bytes!("../tests/golden/logn-v1-job-finished");

    /// What is shown, and the error after that.
    fn shown(bytes: &[u8], entries: usize) -> (String, Option<String>) {
        let mut out = Vec::new();
        let outcome = show(&mut out, "x", Buffer::from(bytes), Limits { entries, bytes: 8 });
        (String::from_utf8(out).unwrap(), outcome.err().map(|error| error.to_string()))
    }

    #[test]
    fn a_snapshot_is_shown_with_states_sections_and_the_first_entries() {
        let (text, error) = shown(DELTA, 2);
        assert_eq!(error, None);
        let expected = r#"x: a snapshot, version 5, 912 bytes
root crc 0fbf8e9c

state 0: "count" of operator "count per word"
  builds on earlier snapshots; 3 sections, 4 entries, 53 bytes
  key string, value u64
  keys with hashes 6e22fde7 to d5b2d898: 3 entries, 36 bytes at 32, crc 8359a1e9
    32 flags 2 key 7461726e0000 tombstone
    41 flags 0 key 62726f6f6b0000 value 0400000000000000
    and 1 more
  keys with hashes d5b2d898 to d5b2d898: 1 entries, 17 bytes at 80, crc 3f587ed0
    80 flags 0 key 666f72640000 value 0900000000000000
  all keys with hashes 5b000000 to 5bffffff: 0 entries, 0 bytes at 112, crc 00000000

state 1: "panes" of operator "window"
  builds on earlier snapshots; 1 sections, 2 entries, 86 bytes
  key u64, value string
  keys with hashes 44f78bf3 to 7985511c: 2 entries, 86 bytes at 112, crc "#;
        assert!(text.starts_with(expected), "{text}");
        let namespace = "flags 1 namespace 0 3600000 key 0000000000000002 value 6c6f6e6765722074... (32 bytes)";
        assert!(text.contains(namespace) && text.contains("split 0: 1 entries, 10 bytes"), "{text}");
    }

    #[test]
    fn metadata_is_shown_with_the_snapshots_within_and_a_log_entry_as_what_it_says() {
        let (text, error) = shown(INLINE, 1);
        assert_eq!(error, None);
        assert!(text.contains("\"name\": \"1-1-count-1.state\"") && text.contains("subtask: 1 entries, 5 bytes at 800"), "{text}");
        let (text, error) = shown(FINISHED, 1);
        assert_eq!(error, None);
        assert!(text.contains("\"event\": \"job_finished\""), "{text}");
    }

    #[test]
    fn whatever_is_wrong_with_a_file_is_told_with_its_name_and_the_offset() {
        for file in [DELTA, INLINE, FINISHED] {
            let cuts = (0..file.len()).map(|length| file[..length].to_vec());
            let flips = (0..file.len()).map(|at| [&file[..at], &[!file[at]], &file[at + 1..]].concat());
            for damaged in cuts.chain(flips) {
                let error = shown(&damaged, 1).1.unwrap();
                let offset = error.strip_prefix("x, byte ").and_then(|rest| rest.split_once(": "));
                assert!(offset.is_some_and(|(offset, _)| offset.parse::<usize>().is_ok_and(|offset| offset <= file.len())), "{error}");
            }
        }
        assert!(shown(b"name,age\n", 1).1.unwrap().contains("was not written by Thalweg"));
    }

    #[test]
    fn a_file_of_another_version_or_kind_is_named_as_such() {
        let with = |at: usize, bytes: &[u8; 4]| {
            let mut file = DELTA.to_vec();
            file[at..at + 4].copy_from_slice(bytes);
            let crc = crc32fast::hash(&file[..28]);
            file[28..32].copy_from_slice(&crc.to_le_bytes());
            shown(&file, 1)
        };
        let (text, error) = with(12, &99_u32.to_le_bytes());
        assert!(text.contains("a snapshot, version 99"), "{text}");
        assert_eq!(error.unwrap(), "x, byte 12: the format has version 99, and this program reads version 5");
        assert!(with(8, b"next").1.unwrap().starts_with("x, byte 8: the kind is none of"));
    }
}
