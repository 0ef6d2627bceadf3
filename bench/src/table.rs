//! The table of keyed state alone, beside those of `bench/peers/limit`: a key's hash is given, its count and sum are changed.

use crate::check::{Share, Totals};
use crate::event::{h_a, h_f, mix, r32, sm};
use crate::workloads::Spec;
use std::sync::Arc;
use thalweg_storage::HotTable;

/// Keys that are prefetched together, as the peers do it.
const BATCH: usize = 512;

/// Changes `spec.events` times an entry of a table with `spec.keys` keys, and returns the sums over all entries.
pub fn change(spec: &Spec) -> Arc<Totals> {
    let mut table: HotTable<u64, (u64, u64)> = HotTable::default();
    let mut ahead = Vec::with_capacity(BATCH);
    let mut next = 0;
    while next < spec.events {
        ahead.clear();
        for i in next..spec.events.min(next + BATCH as u64) {
            let x = sm(i);
            let key = r32(x >> 32, spec.keys);
            let hash = mix(key);
            table.prefetch(hash);
            ahead.push((hash, key, x & 0xffff));
        }
        next += BATCH as u64;
        for (hash, key, add) in &ahead {
            let (count, sum) = table.get_or_insert_with(*hash, |stored| stored == key, || (*key, (0, 0)));
            *count += 1;
            *sum += add;
        }
    }
    let totals = Arc::new(Totals::default());
    let mut share = Share::of(&totals);
    table.iter().for_each(|(key, (count, sum))| share.add(h_a(*key, *count), h_f(*key, *count, *sum)));
    drop(share);
    totals
}
