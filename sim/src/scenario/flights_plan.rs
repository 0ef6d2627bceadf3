//! The flights job, `thalweg/examples/flights.rs` unchanged, and its input files: generated ones with everything that occurs in CSV files, or a slice of
//! the real ones.

use std::io;
use std::time::Duration;
use thalweg::StreamExecutionEnvironment;
use thalweg_io::{Rng, SplitMix};
use thalweg_world::Draw;
use thalweg_world::SimulatedDisk;

#[path = "../../../thalweg/examples/flights.rs"]
mod flights;

/// The real input, a file per month.
const REAL: [&str; 3] = [
    include_str!("../../../thalweg/examples/data/flights-2013-01.csv"),
    include_str!("../../../thalweg/examples/data/flights-2013-02.csv"),
    include_str!("../../../thalweg/examples/data/flights-2013-03.csv"),
];

/// The folder of the input.
pub const INPUT: &str = "/data/flights";
/// The folders of the three outputs: days, late flights, malformed rows.
pub const OUTPUTS: [&str; 3] = ["/results/days", "/results/late", "/results/malformed"];

/// Columns of generated files: those that the job reads, and some that it does not.
const COLUMNS: [&str; 10] = ["year", "month", "day", "dep_time", "dep_delay", "carrier", "hour", "minute", "tailnum", "origin"];

/// The flights job and its input.
#[derive(Clone, Debug)]
pub struct FlightsPlan {
    /// Paths and contents of the input.
    pub files: Vec<(String, Vec<u8>)>,
    /// Whether the files are a slice of the real input.
    pub is_real: bool,
    /// The length of a window.
    pub window_ms: i64,
    /// The bound of out-of-orderness, in milliseconds.
    pub out_of_orderness_ms: i64,
    /// Records per second and source subtask, if limited.
    pub rate: Option<u64>,
    /// The content of the results' folder before the job.
    pub before: Before,
}

/// The content of the results' folder before the job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing; the folder does not exist either.
    Nothing,
    /// Files of a dead attempt.
    DeadAttempt,
    /// Results of an earlier run, which the job is to replace.
    ResultsToReplace,
    /// Results of an earlier run, which the job must not touch.
    ResultsToKeep,
}

impl FlightsPlan {
    /// Draws a job.
    pub(crate) fn draw(stream: &mut SplitMix) -> Self {
        let is_real = stream.chance(400);
        let contents: Vec<Vec<u8>> = if is_real { real_slices(stream) } else { Writer::draw(stream).files(stream) };
        let files =
            contents.into_iter().enumerate().map(|(number, content)| (format!("{INPUT}/flights-{number:02}.csv"), content)).collect();
        let before = match stream.below(20) {
            0 => Before::ResultsToKeep,
            1..4 => Before::ResultsToReplace,
            4..6 => Before::DeadAttempt,
            _ => Before::Nothing,
        };
        let day_ms = 86_400_000;
        Self {
            files,
            is_real,
            window_ms: stream.pick(&[day_ms, 3_600_000, 90_000, 7 * day_ms, 1_500]),
            out_of_orderness_ms: stream.pick(&[day_ms, day_ms, 0, 3_600_000, 400 * day_ms, 60_000]),
            rate: stream.chance(150).then(|| stream.pick(&[100, 2_000, 50_000])),
            before,
        }
    }

    /// The total size of the files in bytes.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.files.iter().map(|(_, content)| content.len()).sum()
    }

    /// The least duration of the job, from its rate, in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        let rows = self.files.iter().map(|(_, content)| content.iter().filter(|byte| **byte == b'\n').count()).sum::<usize>() as u64;
        self.rate.map_or(0, |rate| rows * 1000 / rate)
    }

    /// Creates the files that exist before the job runs.
    pub(crate) fn prepare(&self, disk: &SimulatedDisk) -> io::Result<()> {
        disk.put_dir(INPUT)?;
        self.files.iter().try_for_each(|(path, content)| disk.put(path, content.clone()))?;
        self.before_files().into_iter().try_for_each(|(name, content)| disk.put(format!("{}/{name}", OUTPUTS[0]), content))
    }

    /// The files in the results' folder before the job.
    #[must_use]
    pub fn before_files(&self) -> Vec<(String, Vec<u8>)> {
        let files: &[(&str, &str)] = match self.before {
            Before::Nothing => &[],
            Before::DeadAttempt => &[(".part-0-0.csv.0123456789abcdef.inprogress", "half a li"), ("notes.txt", "keep")],
            Before::ResultsToReplace | Before::ResultsToKeep => &[("part-0-0.csv", "old\n"), ("part-12-0.csv", "older\n")],
        };
        files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
    }

    /// Describes the job.
    pub(crate) fn build(&self, env: &StreamExecutionEnvironment) {
        env.set_source_rate(self.rate);
        let [output, late_output, malformed_output] = OUTPUTS.map(Into::into);
        let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
        let args = flights::FlightsArgs {
            input: INPUT.into(),
            output,
            late_output: Some(late_output),
            malformed_output: Some(malformed_output),
            window: millis(self.window_ms),
            out_of_orderness: millis(self.out_of_orderness_ms),
            strict: false,
            overwrite: self.before == Before::ResultsToReplace,
        };
        flights::build(env, &args);
    }
}

/// A few consecutive rows of each month, with the header.
fn real_slices(stream: &mut SplitMix) -> Vec<Vec<u8>> {
    let months = stream.between(1, 3) as usize;
    let slice = |file: &str, stream: &mut SplitMix| {
        let (header, rows) = file.split_once('\n').unwrap_or((file, ""));
        let line_starts_at = |at: u64| rows.get(at as usize..).and_then(|rest| rest.find('\n')).map_or(0, |end| at as usize + end + 1);
        let bytes = stream.pick(&[2_000, 10_000, 30_000]);
        let start = stream.below((rows.len() as u64).saturating_sub(bytes).max(1));
        let (start, end) = (line_starts_at(start), line_starts_at(start + bytes));
        format!("{header}\n{}", rows.get(start..end).unwrap_or_default()).into_bytes()
    };
    REAL.iter().take(months).map(|file| slice(file, stream)).collect()
}

/// Writes the files of a scenario.
struct Writer {
    columns: Vec<&'static str>,
    line_end: &'static str,
    carriers: Vec<&'static str>,
    /// Of 1000 rows, how many are malformed.
    malformed: u32,
    /// Of 1000 rows, how many are out of order.
    disorder: u32,
    /// The most minutes from one flight to the next.
    step_min: u64,
    minute: i64,
}

impl Writer {
    fn draw(stream: &mut SplitMix) -> Self {
        let mut columns = COLUMNS.to_vec();
        for last in (1..columns.len()).rev() {
            columns.swap(last, stream.below(last as u64 + 1) as usize);
        }
        let carriers = stream.pick::<&[&str]>(&[&["UA", "AA", "9E"], &["UA"], &["A,B", "say \"hi\"", "", "é", "DL"]]).to_vec();
        Self {
            columns,
            line_end: stream.pick(&["\n", "\n", "\r\n"]),
            carriers,
            malformed: stream.pick(&[0, 20, 300]),
            disorder: stream.pick(&[0, 0, 50, 700]),
            step_min: stream.pick(&[0, 3, 60, 2_000]),
            // Days before 1970, leap days and ends of years among them.
            minute: stream.pick(&[0, -3_000, 15_768_000, 22_600_000]),
        }
    }

    fn files(mut self, stream: &mut SplitMix) -> Vec<Vec<u8>> {
        (0..stream.between(1, 4)).map(|_| self.file(stream)).collect()
    }

    fn file(&mut self, stream: &mut SplitMix) -> Vec<u8> {
        let mut file = vec![];
        if stream.chance(60) {
            return file;
        }
        if stream.chance(60) {
            file.extend_from_slice(b"\xef\xbb\xbf");
        }
        file.extend_from_slice(self.columns.join(",").as_bytes());
        let magnitude = stream.between(0, 7);
        for _ in 0..stream.below(1 << magnitude) {
            file.extend_from_slice(self.line_end.as_bytes());
            if stream.chance(30) {
                file.extend_from_slice(self.line_end.as_bytes());
            }
            self.row(&mut file, stream);
        }
        if stream.chance(20) {
            file.extend_from_slice(self.line_end.as_bytes());
            file.extend_from_slice(b"\"a quote that nobody closes,1,2\n3,4");
        } else if stream.chance(700) {
            file.extend_from_slice(self.line_end.as_bytes());
        }
        file
    }

    fn row(&mut self, file: &mut Vec<u8>, stream: &mut SplitMix) {
        self.minute += stream.between(0, self.step_min) as i64;
        let minute = if stream.chance(self.disorder) { self.minute - stream.between(0, 5_000) as i64 } else { self.minute };
        let written = crate::reference::calendar::format(minute * 60_000);
        let number = |from: usize, to: usize| written.get(from..to).unwrap_or_default().trim_start_matches('0').to_owned();
        let or_zero = |text: String| if text.is_empty() { "0".to_owned() } else { text };
        let is_cancelled = stream.chance(150);
        let carrier = stream.pick(&self.carriers);
        let broken = stream.chance(self.malformed).then(|| stream.below(6));
        let mut fields = vec![];
        for column in &self.columns {
            fields.push(match *column {
                "year" => number(0, 4),
                "month" => number(5, 7),
                "day" if broken == Some(0) => "31".to_owned() + "0",
                "day" => number(8, 10),
                "hour" if broken == Some(1) => "noon".to_owned(),
                "hour" => or_zero(number(11, 13)),
                "minute" => or_zero(number(14, 16)),
                "dep_time" if is_cancelled => "NA".to_owned(),
                "dep_time" if broken == Some(2) => "-1".to_owned(),
                "dep_time" => stream.below(2400).to_string(),
                "dep_delay" if is_cancelled || stream.chance(50) => "NA".to_owned(),
                "dep_delay" => (stream.between(0, 300) as i64 - 20).to_string(),
                "carrier" => carrier.to_owned(),
                "tailnum" if stream.chance(30) => "two\nlines".to_owned(),
                _ => stream.below(1000).to_string(),
            });
        }
        match broken {
            Some(3) => fields.push("one too many".to_owned()),
            Some(4) => _ = fields.pop(),
            _ => {}
        }
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                file.push(b',');
            }
            if field.contains([',', '"', '\n']) || stream.chance(20) {
                file.extend_from_slice(format!("\"{}\"", field.replace('"', "\"\"")).as_bytes());
            } else {
                file.extend_from_slice(field.as_bytes());
            }
        }
        if broken == Some(5) {
            file.push(0xff);
        }
    }
}
