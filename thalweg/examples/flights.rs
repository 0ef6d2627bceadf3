//! Flights and their delays, a line for each carrier and day.
//!
//! Reads the departures from New York's airports, assigns each to the day it was scheduled for, and writes
//!
//! ```text
//! window_start,carrier,flights,cancelled,total_dep_delay_min,max_dep_delay_min
//! 2013-01-01T00:00:00Z,9E,28,0,494,255
//! ```
//!
//! (without that header). A flight that arrives after its day has been written is *late*; late flights are written as their input lines.

use std::path::{Path, PathBuf};
use std::time::Duration;
use thalweg::cli;
use thalweg::connectors::{CsvError, CsvRow, CsvSource, FileSink, MALFORMED, MalformedRecord};
use thalweg::sink::Sink;
use thalweg::{
    AggregateFunction, Chain, DataStream, Exchanged, OutputTag, Record, StreamExecutionEnvironment, TumblingEventTimeWindows,
    WatermarkStrategy, format_millis,
};

/// One departure.
#[derive(Clone, Debug, Record)]
pub struct Flight {
    /// The scheduled departure in milliseconds since 1970, read as UTC.
    pub scheduled_ms: i64,
    /// Two letters, such as `UA`.
    pub carrier: String,
    /// The flight never left.
    pub cancelled: bool,
    /// Minutes between scheduled and actual departure; negative if early.
    pub delay_min: Option<i64>,
    /// The input line.
    pub line: String,
}

/// The totals of one carrier's day.
#[derive(Clone, Debug, Record)]
pub struct Day {
    /// When the day began, in milliseconds since 1970.
    pub start_ms: i64,
    /// Two letters, as in `Flight`.
    pub carrier: String,
    /// The totals of its flights.
    pub totals: Totals,
}

/// Totals over flights.
#[derive(Clone, Debug, Default, Record)]
pub struct Totals {
    /// The number of flights, cancelled ones included.
    pub flights: u64,
    /// The number of flights that never left.
    pub cancelled: u64,
    /// The sum of the delays in minutes; early departures count negative.
    pub total_delay_min: i64,
    /// The longest delay in minutes, if any flight left.
    pub max_delay_min: Option<i64>,
}

/// Adds up flights per carrier and day.
#[derive(Clone)]
struct Sum;

impl AggregateFunction<Flight> for Sum {
    type Accumulator = Totals;
    type Output = Totals;

    fn create_accumulator(&self) -> Totals {
        Totals::default()
    }

    fn add(&self, flight: FlightRef<'_>, totals: &mut Totals) {
        totals.flights += 1;
        totals.cancelled += u64::from(flight.cancelled);
        totals.total_delay_min += flight.delay_min.unwrap_or(0);
        totals.max_delay_min = totals.max_delay_min.max(flight.delay_min);
    }

    fn merge(&self, other: Totals, totals: &mut Totals) {
        totals.flights += other.flights;
        totals.cancelled += other.cancelled;
        totals.total_delay_min += other.total_delay_min;
        totals.max_delay_min = totals.max_delay_min.max(other.max_delay_min);
    }

    fn get_result(&self, totals: &Totals) -> Totals {
        totals.clone()
    }
}

/// Reads a row; missing values are `NA`.
fn flight(row: &CsvRow<'_>) -> Result<Flight, CsvError> {
    let (year, month, day) = (row.parse("year")?, row.parse("month")?, row.parse("day")?);
    let scheduled = jiff::civil::DateTime::new(year, month, day, row.parse("hour")?, row.parse("minute")?, 0, 0)
        .and_then(|scheduled| scheduled.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|error| CsvError::new(format!("year, month, day, hour and minute are no time: {error}")))?;
    Ok(Flight {
        scheduled_ms: scheduled.timestamp().as_millisecond(),
        carrier: row.get("carrier")?.to_owned(),
        cancelled: row.parse_unless::<u16>("NA", "dep_time")?.is_none(),
        delay_min: row.parse_unless("NA", "dep_delay")?,
        line: row.text().to_owned(),
    })
}

/// What to read, where to write, and what a day is.
#[derive(Clone, Debug, clap::Args)]
pub struct FlightsArgs {
    /// A CSV file, or a folder whose *.csv files are read in the order of their names
    #[arg(long, value_name = "PATH", default_value_os_t = sample_data())]
    pub input: PathBuf,

    /// The folder for the results, created if need be; what is not complete in it is hidden by a leading dot
    #[arg(long, value_name = "DIR", default_value = "flights-output")]
    pub output: PathBuf,

    /// The folder for late flights, as input lines [default: `late` in the folder for the results]
    #[arg(long, value_name = "DIR")]
    pub late_output: Option<PathBuf>,

    /// The folder for rows that cannot be understood: file,line,column,reason,row [default: `malformed` in the folder for the results]
    #[arg(long, value_name = "DIR")]
    pub malformed_output: Option<PathBuf>,

    /// The length of a window
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = cli::positive_duration)]
    pub window: Duration,

    /// How much later than its successors a flight may come without being late
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = cli::duration)]
    pub out_of_orderness: Duration,

    /// Fail at the first row that cannot be understood
    #[arg(long)]
    pub strict: bool,

    /// Replace the results of an earlier run when this one is complete
    #[arg(long)]
    pub overwrite: bool,
}

/// The sample in the repository that the program was built from, wherever the program is started.
fn sample_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data")
}

/// The computation: the days, and as side outputs late flights and rows that cannot be understood.
pub fn results(
    env: &StreamExecutionEnvironment,
    args: &FlightsArgs,
) -> (DataStream<impl Chain<Out = Day> + use<>>, DataStream<Exchanged<Flight>>, DataStream<Exchanged<MalformedRecord>>) {
    let late = OutputTag::new("late");
    let flights = env.source(CsvSource::with(&args.input, flight).strict(args.strict));
    let malformed = flights.side_output(&MALFORMED);
    let days = flights
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::for_bounded_out_of_orderness(args.out_of_orderness)
                .with_timestamp_assigner(|flight: FlightRef<'_>| flight.scheduled_ms),
        )
        .key_by::<String>(|flight| flight.carrier)
        .window(TumblingEventTimeWindows::of(args.window))
        .side_output_late_data(&late)
        .aggregate(Sum, |carrier, window, totals| Day { start_ms: window.start, carrier: carrier.to_owned(), totals });
    let late_flights = days.side_output(&late);
    (days, late_flights, malformed)
}

/// The sink of the days.
pub fn days_sink(args: &FlightsArgs) -> impl Sink<In = Day> + use<> {
    let rows = FileSink::<Day>::csv(&args.output, |day, row| {
        let TotalsRef { flights, cancelled, total_delay_min, max_delay_min } = day.totals;
        row.field(format_millis(day.start_ms)).field(day.carrier);
        row.field(flights).field(cancelled).field(total_delay_min).optional(max_delay_min);
    });
    rows.overwrite(args.overwrite)
}

/// The sink of late flights.
pub fn late_sink(args: &FlightsArgs) -> impl Sink<In = Flight> + use<> {
    let dir = args.late_output.clone().unwrap_or_else(|| args.output.join("late"));
    FileSink::<Flight>::lines(dir, |flight, line| line.push_str(flight.line)).suffix(".csv").overwrite(args.overwrite)
}

/// The sink of rows that cannot be understood.
pub fn malformed_sink(args: &FlightsArgs) -> impl Sink<In = MalformedRecord> + use<> {
    let dir = args.malformed_output.clone().unwrap_or_else(|| args.output.join("malformed"));
    let rows = FileSink::<MalformedRecord>::csv(dir, |row, out| {
        out.field(row.file).field(row.line).field(row.column).field(row.reason).field(row.text);
    });
    rows.overwrite(args.overwrite)
}

/// Builds the job: source, computation and sinks.
pub fn build(env: &StreamExecutionEnvironment, args: &FlightsArgs) {
    let (days, late, malformed) = results(env, args);
    days.sink(days_sink(args)).name("days").uid("days");
    late.sink(late_sink(args)).name("late").uid("late");
    malformed.sink(malformed_sink(args)).name("malformed").uid("malformed");
}

/// The job's name and description, for `--help`.
pub const ABOUT: cli::About = cli::About {
    job: "flights",
    what: "Counts flights and adds up their delays, for each carrier and day. Without any option it reads the sample: all \
           80,789 departures from New York in the first three months of 2013.",
    examples: &[
        ("flights run", "the sample, on all cores"),
        ("flights run --cores 2 --overwrite", "the same on two cores, in place of the results that are there"),
        ("flights run --window 1h --out-of-orderness 0", "hourly, without any patience: thousands are late"),
        ("flights run --rate 2000", "slowly, to watch the watermark rise"),
        ("flights run --rate 2000 --checkpoint-dir flights-checkpoints", "stop or kill it, run it again: it goes on"),
        ("flights run --input my.csv --output out", "another file with the same columns"),
    ],
};

#[allow(dead_code, reason = "the simulator and the tests include this file for the job alone")]
fn main() -> std::process::ExitCode {
    cli::run::<FlightsArgs>(ABOUT, build)
}
