use thalweg::record::Key;

fn key_by<K: Key>() {}

fn main() {
    key_by::<(u32, f64)>();
}
