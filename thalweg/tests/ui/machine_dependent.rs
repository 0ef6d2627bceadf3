use thalweg::record::Record;

#[derive(Record, Clone)]
struct Count {
    of: usize,
}

#[derive(Record, Clone)]
struct Word {
    text: &'static str,
}

fn main() {}
