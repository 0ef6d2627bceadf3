//! Warnings that no stranger can multiply (`io/src/complaints.rs`).

use std::time::Duration;
use thalweg_io::Complaints;
use thalweg_small_world::World;

/// However many there are, one is shown as often as this.
const INTERVAL: Duration = Duration::from_secs(10);

#[test]
fn a_flood_is_shown_in_a_few_lines_and_a_single_one_long_after_it_again() {
    let (world, mut complaints) = (World::default(), Complaints::default());
    let shown: Vec<_> = (0..100_000).filter_map(|_| complaints.count(&world.io())).collect();
    assert_eq!(shown, (0..17).map(|power| 1 << power).collect::<Vec<u64>>());
    world.sleep(INTERVAL);
    assert_eq!([complaints.count(&world.io()), complaints.count(&world.io())], [Some(100_001), None]);
}
