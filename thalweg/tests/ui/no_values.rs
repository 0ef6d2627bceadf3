use thalweg::record::Record;

#[derive(Record, Clone)]
enum Never {}

fn main() {}
