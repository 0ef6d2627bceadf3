//! The endpoint for Prometheus of a running job, as a stranger meets it: over TCP, and not always kindly.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test speaks to a job from outside, in real time"
)]

use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{MetricFamily, MetricsExposition, PrometheusType, PrometheusValue};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use thalweg::connectors::GeneratorSource;
use thalweg::{CheckpointConfig, JobError, JobHandle, Metric, MetricKind, MetricNames, MetricsEndpoint, StreamExecutionEnvironment};

type Family = MetricFamily<PrometheusType, PrometheusValue>;

/// Long enough for the slowest machine; everything below ends sooner.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sums on two cores that run until they are stopped, and where they show their numbers.
fn sums(name: &str, names: MetricNames) -> (JobHandle, SocketAddr) {
    let env = StreamExecutionEnvironment::new();
    let endpoint = MetricsEndpoint::new("127.0.0.1:0".parse().unwrap()).with_names(names);
    env.add_observer(endpoint.clone()).set_source_rate(Some(50_000));
    env.source(GeneratorSource::unbounded(|i| i)).key_by::<u64>(|n| *n % 10).reduce(|a, b| a + b).for_each(|_| ());
    let handle = env.execute(name, 2).unwrap();
    let address = loop {
        match endpoint.address() {
            Some(address) => break address,
            None => std::thread::yield_now(),
        }
    };
    (handle, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.set_write_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Sends `request` and reads until the end.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut connection = connect(address);
    connection.write_all(request).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// The body of the metrics.
fn scrape(address: SocketAddr) -> String {
    let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    body.to_owned()
}

/// Scrapes until both cores have told what they count.
fn scrape_numbers(address: SocketAddr) -> String {
    loop {
        let body = scrape(address);
        if body.lines().filter(|line| line.starts_with("thalweg_task_records_in_total{") && !line.ends_with(" 0")).count() == 2 {
            return body;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn parse(body: &str) -> MetricsExposition<PrometheusType, PrometheusValue> {
    parse_prometheus(body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

fn value(family: &Family, labels: &[(&str, &str)]) -> f64 {
    let is_meant = |sample: &&openmetrics_parser::Sample<PrometheusValue>| {
        let set = sample.get_labelset().unwrap();
        labels.iter().all(|(name, value)| set.get_label_value(name) == Some(value))
    };
    match &family.iter_samples().find(is_meant).unwrap_or_else(|| panic!("{labels:?} in {family:?}")).value {
        PrometheusValue::Counter(counter) => counter.value.as_f64(),
        PrometheusValue::Gauge(number) | PrometheusValue::Unknown(number) => number.as_f64(),
        other => panic!("{other:?}"),
    }
}

fn stop(handle: JobHandle) -> thalweg::JobReport {
    handle.stop();
    let report = handle.wait().unwrap();
    assert_eq!(report.metrics.total("numRecordsOut"), report.metrics.total("numRecordsSend"), "nothing is lost");
    report
}

#[test]
fn a_scrape_shows_every_number_of_the_job_and_parses() {
    let (handle, address) = sums("sums \"of\" tens", MetricNames::Thalweg);
    let shown = parse(&scrape_numbers(address));
    let labels = |subtask| [("job", "sums \"of\" tens"), ("task", "reduce -> for-each"), ("subtask", subtask)];
    let records_in = &shown.families["thalweg_task_records_in_total"];
    assert_eq!(records_in.family_type, PrometheusType::Counter);
    assert!(value(records_in, &labels("0")) + value(records_in, &labels("1")) > 0.0);
    let queues = &shown.families["thalweg_task_input_queue_frames"];
    assert_eq!((queues.family_type.clone(), queues.iter_samples().count()), (PrometheusType::Gauge, 4));
    value(queues, &[("task", "reduce -> for-each"), ("subtask", "1"), ("channel", "1")]);
    // Counters only grow from scrape to scrape.
    let later = parse(&scrape_numbers(address));
    for (name, family) in shown.families.iter().filter(|(_, family)| family.family_type == PrometheusType::Counter) {
        for sample in family.iter_samples() {
            let set = sample.get_labelset().unwrap();
            let labels: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert!(value(&later.families[name], &labels) >= value(family, &labels), "{name}");
        }
    }
    // Whatever the engine counts is shown.
    let report = stop(handle);
    let is_shown = |metric: &&Metric| metric.kind == MetricKind::Counter || metric.value != i64::MIN;
    // The watermark that comes with the end of input alone.
    let came_since = |metric: &&Metric| metric.name.contains("Watermark") && metric.value == i64::MAX;
    let known: Vec<&Metric> = report.metrics.iter().filter(is_shown).filter(|metric| !came_since(metric)).collect();
    let samples: usize = later.families.values().map(|family| family.iter_samples().count()).sum();
    assert_eq!(samples, known.len(), "{known:#?}\n{:#?}", later.families);
}

#[test]
fn a_scrape_shows_how_much_state_there_is_and_what_the_latest_checkpoint_has_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let env = StreamExecutionEnvironment::new();
    let endpoint = MetricsEndpoint::new("127.0.0.1:0".parse().unwrap());
    env.add_observer(endpoint.clone()).set_source_rate(Some(5_000));
    env.enable_checkpointing(CheckpointConfig::new(dir.path()).interval(Duration::from_millis(50)));
    env.source(GeneratorSource::unbounded(|i| i)).key_by::<u64>(|n| *n % 10).reduce(|a, b| a + b).for_each(|_| ());
    let handle = env.execute("sums", 2).unwrap();
    // Nothing while one of the two subtasks has not shown the number.
    let sum = |shown: &MetricsExposition<_, _>, name: &str| -> f64 {
        let family: Option<&Family> = shown.families.get(name).filter(|family| family.iter_samples().count() == 2);
        family.map_or(0.0, |family| ["0", "1"].map(|subtask| value(family, &[("operator", "reduce"), ("subtask", subtask)])).iter().sum())
    };
    let shown = loop {
        let shown = endpoint.address().map(|address| parse(&scrape(address)));
        // Ten keys and ten sums of eight bytes each.
        if let Some(shown) = shown.filter(|shown| sum(shown, "thalweg_operator_last_checkpoint_full_size_bytes") >= 160.0) {
            break shown;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(sum(&shown, "thalweg_operator_state_entries"), 10.0);
    assert!(sum(&shown, "thalweg_operator_state_table_bytes") >= 160.0);
    // It is small: it is written whole each time, within the metadata.
    let [written, full] = ["size", "full_size"].map(|size| sum(&shown, &format!("thalweg_operator_last_checkpoint_{size}_bytes")));
    assert_eq!(written, full);
    let files = &shown.families["thalweg_operator_last_checkpoint_files"];
    assert_eq!((files.iter_samples().count(), sum(&shown, "thalweg_operator_last_checkpoint_files")), (2, 0.0), "only reduce has state");
    stop(handle);
}

#[test]
fn flinks_names_are_aliases_with_flinks_labels() {
    let (handle, address) = sums("sums", MetricNames::WithFlink);
    let shown = parse(&scrape_numbers(address));
    let alias = &shown.families["flink_taskmanager_job_task_numRecordsIn"];
    assert_eq!(alias.family_type, PrometheusType::Gauge, "as Flink's reporter has it");
    assert!(value(alias, &[("job_name", "sums"), ("task_name", "reduce -> for-each"), ("subtask_index", "1")]) >= 0.0);
    assert!(shown.families.contains_key("thalweg_task_records_in_total"), "{:?}", shown.families.keys());
    assert!(shown.families.contains_key("flink_jobmanager_job_numRestarts"));
    stop(handle);
}

#[test]
fn what_is_not_there_or_not_allowed_is_said_in_a_line() {
    let (handle, address) = sums("sums", MetricNames::Thalweg);
    for (request, status) in [
        ("GET /health HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET /metrics?format=any HTTP/1.0\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405 Method Not Allowed"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("once upon a time\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = ask(address, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
    }
    let answer = ask(address, b"DELETE /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
    let endless = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 20 << 10]].concat();
    assert!(ask(address, &endless).starts_with("HTTP/1.1 431 "));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    assert!(ask(address, many.as_bytes()).starts_with("HTTP/1.1 431 "));
    stop(handle);
}

/// Something like random bytes: a linear congruential generator.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::repeat_n((), len).scan(seed, |state, ()| step(state)).collect()
}

#[test]
fn a_job_finishes_rightly_whatever_is_thrown_at_its_endpoint() {
    let (handle, address) = sums("sums", MetricNames::WithFlink);
    scrape_numbers(address);
    // More idle connections than there is room for, and half a request in some of them: they take no room from those that ask.
    let idle: Vec<TcpStream> = (0..100)
        .map(|i| {
            let mut connection = connect(address);
            if i % 2 == 0 {
                connection.write_all(b"GET /metrics HTT").unwrap();
            }
            connection
        })
        .collect();
    scrape(address);
    let throwing: Vec<_> = (0..4u64)
        .map(|thrower| {
            std::thread::spawn(move || {
                for round in 0..100 {
                    let mut connection = connect(address);
                    // Whatever becomes of it: the other side may hang up at any time.
                    let _ = match round % 5 {
                        0 => connection.write_all(&noise(thrower * 1000 + round, 300)),
                        1 => connection.write_all(&noise(round, 200_000)),
                        2 => connection.write_all(b"GET /metrics HTTP/1.1\r\nHost"),
                        3 => connection.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").and_then(|()| connection.read(&mut [0; 10]).map(drop)),
                        _ => connection.write_all(b"GET /metrics HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n"),
                    };
                }
            })
        })
        .collect();
    throwing.into_iter().for_each(|thrower| thrower.join().unwrap());
    // Those that were silent were hung up on to make room; nobody was told anything.
    let mut hung_up = 0;
    for mut connection in idle {
        connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        match connection.read(&mut [0; 100]) {
            Ok(0) => hung_up += 1,
            Ok(_) => panic!("half a request was answered"),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => hung_up += 1,
            Err(_) => {}
        }
    }
    assert!(hung_up >= 100 - 16, "{hung_up}");
    assert!(ask(address, b"GET /health HTTP/1.1\r\n\r\n").ends_with("ok\n"));
    stop(handle);
}

#[test]
fn a_reader_that_takes_nothing_holds_nobody_up() {
    let (handle, address) = sums("sums", MetricNames::WithFlink);
    scrape_numbers(address);
    let slow: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut connection = connect(address);
            connection.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            connection
        })
        .collect();
    for _ in 0..20 {
        scrape(address);
    }
    stop(handle);
    drop(slow);
}

#[test]
fn a_job_whose_address_is_taken_does_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let env = StreamExecutionEnvironment::new();
    env.add_observer(MetricsEndpoint::new(taken.local_addr().unwrap()));
    let out = env.source(GeneratorSource::new(10, |i| i)).collect();
    let error = env.execute("numbers", 1).unwrap().wait().unwrap_err();
    assert!(matches!(error, JobError::Listen { .. }) && error.to_string().contains("choose another address or port"), "{error}");
    assert!(out.take().is_empty());
}
