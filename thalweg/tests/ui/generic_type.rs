use thalweg::record::Record;

#[derive(Record, Clone)]
struct Pair<T> {
    left: T,
    right: T,
}

#[derive(Record, Clone)]
struct Borrowed<'a> {
    text: &'a str,
}

fn main() {}
