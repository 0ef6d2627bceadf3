//! Jobs whose functions panic or never return: what is said of them, how often they are tried again, how they are ended all the same.

use super::*;

#[derive(clap::Args)]
struct StubbornArgs {
    /// Falls so often
    #[arg(long, default_value_t = 0)]
    falls: u64,
    /// How many records there are
    #[arg(long, default_value_t = 10)]
    numbers: u64,
    /// Never ends by itself, nor when it is asked to
    #[arg(long)]
    hangs: bool,
    /// Falls once, when the file `go` is there
    #[arg(long)]
    stumbles: bool,
}

/// Not a test of its own: what those below run in another process.
#[test]
fn a_job_that_falls_or_hangs() {
    let Ok(command_line) = std::env::var("THALWEG_TEST_STUBBORN") else { return };
    let about = About { job: "stubborn", what: "Falls or hangs", examples: &[] };
    let code = cli::run_from::<StubbornArgs, _>(command_line.split(' '), about, |env, args| {
        let (left, hangs) = (Arc::new(AtomicU64::new(args.falls + u64::from(args.stumbles))), args.hangs);
        let stumbles = args.stumbles;
        env.from_collection((0..args.numbers).collect()).for_each(move |_| {
            let falls = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if falls && stumbles {
                fs::write("stumbles", "").unwrap();
                while !Path::new("go").exists() {
                    std::thread::yield_now();
                }
            }
            assert!(!falls, "a fall");
            if hangs {
                fs::write("hangs", "").unwrap();
                loop {
                    std::thread::park();
                }
            }
        });
    });
    std::process::exit(i32::from(code));
}

fn stubborn(dir: &Path, command_line: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["falling::a_job_that_falls_or_hangs", "--exact", "--nocapture"])
        .env("THALWEG_TEST_STUBBORN", command_line)
        .current_dir(dir);
    command
}

#[test]
fn a_job_that_falls_is_restarted_as_often_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let restarting = "stubborn run --cores 1 --restart-strategy fixed-delay --restart-attempts 3 --restart-delay 1ms";
    let output = stubborn(dir.path(), &format!("{restarting} --falls 3")).output().unwrap();
    let summary = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
    assert!(summary.contains("  3 restarts; the numbers are those since the last restart"), "{summary}");
    check(stubborn(dir.path(), &format!("{restarting} --falls 4")), 1, &["a fall"]);
    check(stubborn(dir.path(), "stubborn run --cores 1 --falls 1"), 1, &["a fall"]);
    let output = stubborn(dir.path(), "stubborn run --cores 1 --restart-attempts 1 --falls 1").output().unwrap();
    assert_eq!(outcome(&output).0, Some(0), "the number says that restarts are wanted: {}", outcome(&output).1);
    let growing = "stubborn run --cores 1 --restart-strategy exponential-delay --restart-delay 1ms --falls 3 --checkpoint-dir checkpoints";
    let output = stubborn(dir.path(), growing).output().unwrap();
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).1);
}

#[test]
fn a_second_signal_ends_at_once_a_job_that_cannot_stop() {
    for options in ["", " --checkpoint-dir checkpoints"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = stubborn(dir.path(), &format!("stubborn run --cores 1 --hangs{options}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(&mut child, || dir.path().join("hangs").exists());
        // The kernel may merge signals that follow each other at once: they are sent until the process has ended.
        let status = loop {
            terminate(&child);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.code(), Some(130));
    }
}

#[test]
fn a_job_that_falls_while_it_is_being_stopped_does_not_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let restarting = "--restart-strategy fixed-delay --restart-delay 1ms --checkpoint-dir checkpoints";
    // The attempt that follows would run for a week.
    let slowly = format!("stubborn run --cores 1 --stumbles --rate 1 --numbers 600000 {restarting}");
    let mut child = stubborn(dir.path(), &slowly).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || dir.path().join("stumbles").exists());
    terminate(&child);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping with a checkpoint") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the job has ended");
    }
    fs::write(dir.path().join("go"), "").unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("a fall"), "{rest}");
}

#[derive(clap::Args)]
struct TinyArgs {
    #[arg(long)]
    panic_while: String,
}

/// Not a test of its own: what [`a_panic_in_a_user_function_names_operator_record_and_place`] runs in another process, a job whose function panics.
#[test]
fn a_job_that_panics() {
    let Ok(place) = std::env::var("THALWEG_TEST_PANIC_WHILE") else { return };
    let about = About { job: "tiny", what: "Panics", examples: &[] };
    let code = cli::run_from::<TinyArgs, _>(["tiny", "run", "--cores", "1", "--panic-while", &place], about, |env, args| {
        assert!(args.panic_while != "building", "no plan");
        let fails_at = args.panic_while.clone();
        let rows = thalweg::connectors::CsvSource::with("in.csv", move |row| {
            assert!(fails_at != "reading", "cannot read this");
            row.parse::<i64>("n")
        });
        env.source(rows).map(|n| 100 / (n - 7)).name("divide").for_each(|_| {});
    });
    std::process::exit(i32::from(code));
}

#[test]
fn a_panic_in_a_user_function_names_operator_record_and_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in.csv", "n\n6\n7\n8\n");
    let job = |place: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["falling::a_job_that_panics", "--exact", "--nocapture"])
            .env("THALWEG_TEST_PANIC_WHILE", place)
            .current_dir(dir.path());
        command
    };
    check(job("mapping"), 1, &["operator divide", "attempt to divide by zero", "tests/cli/falling.rs:", "at record: 7"]);
    check(job("reading"), 1, &["operator csv", "cannot read this", "tests/cli/falling.rs:", "in row in.csv:2: 6"]);
    check(job("building"), 1, &["the job could not be put together: no plan", "tests/cli/falling.rs:"]);
}
