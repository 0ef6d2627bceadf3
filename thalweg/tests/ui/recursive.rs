use thalweg::record::Record;

#[derive(Record, Clone)]
struct Tree {
    value: u64,
    children: Vec<Tree>,
}

fn main() {}
