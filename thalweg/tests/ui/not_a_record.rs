use thalweg::record::Record;

struct Opaque;

fn travels<T: Record>() {}

fn main() {
    travels::<Opaque>();
    travels::<usize>();
}
