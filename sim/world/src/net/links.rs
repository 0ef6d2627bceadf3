//! The links between machines: which are cut, and how long things take on them.
//!
//! A link has a direction. It may be cut for several reasons at once and is open again when the last of them is gone. A machine reaches itself always.
//!
//! Pure, with a random stream of its own for latency.

use super::MachineKey;
use crate::config::{LatencyShape, NetConfig};
use crate::rng::Draw;
use std::collections::BTreeMap;
use thalweg_io::{Rng, SplitMix};

/// One direction between two machines.
pub(super) type Link = (MachineKey, MachineKey);

/// See the module.
pub(super) struct Links {
    cut: BTreeMap<Link, u32>,
    shape: LatencyShape,
    latency_ns_max: u64,
    slow: Option<(MachineKey, u64)>,
    stream: SplitMix,
}

impl Links {
    pub(super) fn new(seed: u64, config: &NetConfig) -> Self {
        Self {
            cut: BTreeMap::new(),
            shape: config.latency_shape,
            latency_ns_max: config.latency_ms_max.saturating_mul(1_000_000),
            slow: config.slow_machine,
            stream: SplitMix::stream(seed, "net/latency"),
        }
    }

    pub(super) fn is_open(&self, link: Link) -> bool {
        !self.cut.contains_key(&link)
    }

    /// Cuts a link once more; `true` if it was open.
    pub(super) fn cut(&mut self, link: Link) -> bool {
        if link.0 == link.1 {
            return false;
        }
        let reasons = self.cut.entry(link).or_insert(0);
        *reasons += 1;
        *reasons == 1
    }

    /// Takes one reason away; `true` if the link is open now and was not.
    pub(super) fn mend(&mut self, link: Link) -> bool {
        let Some(reasons) = self.cut.get_mut(&link) else { return false };
        *reasons -= 1;
        let is_open = *reasons == 0;
        if is_open {
            self.cut.remove(&link);
        }
        is_open
    }

    /// Mends everything; the links that were cut.
    pub(super) fn mend_all(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.cut).into_keys().collect()
    }

    /// How long something takes on a link, in nanoseconds.
    pub(super) fn latency_ns(&mut self, link: Link) -> u64 {
        let max = self.latency_ns_max;
        let drawn_ns = match self.shape {
            _ if max == 0 => 0,
            LatencyShape::Constant => max,
            LatencyShape::Uniform => self.stream.between(0, max),
            // Now and then all of it, else a twentieth at most.
            LatencyShape::LongTail => {
                let longest = if self.stream.chance(50) { max } else { max / 20 };
                self.stream.between(0, longest)
            }
        };
        let is_slow = |(machine, _): &(MachineKey, u64)| link.0 != link.1 && (link.0 == *machine || link.1 == *machine);
        match self.slow.filter(is_slow) {
            None => drawn_ns,
            Some((_, ms)) => drawn_ns + ms.saturating_mul(500_000) + self.stream.below(ms.saturating_mul(500_000) + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorldConfig;

    fn links(change: impl FnOnce(&mut NetConfig)) -> Links {
        let mut config = WorldConfig::calm().net;
        change(&mut config);
        Links::new(1, &config)
    }

    #[test]
    fn a_link_is_open_when_the_last_reason_to_cut_it_is_gone() {
        let mut links = links(|_| {});
        assert!(links.cut((0, 1)) && !links.cut((0, 1)) && !links.cut((2, 2)));
        assert!(!links.is_open((0, 1)) && links.is_open((1, 0)));
        assert!(!links.mend((0, 1)) && links.mend((0, 1)) && !links.mend((0, 1)));
        assert!(links.is_open((0, 1)));
    }

    #[test]
    fn latency_has_three_shapes_and_one_peer_may_be_slow() {
        let sample = |shape| {
            let mut links = links(|config| (config.latency_ms_max, config.latency_shape) = (100, shape));
            let mut drawn: Vec<u64> = (0..1000).map(|_| links.latency_ns((0, 1)) / 1_000_000).collect();
            drawn.sort_unstable();
            (drawn[0], drawn[500], drawn[999])
        };
        assert_eq!(sample(LatencyShape::Constant), (100, 100, 100));
        let (low, middle, high) = sample(LatencyShape::Uniform);
        assert!(low < 5 && (40..60).contains(&middle) && high > 95);
        let (_, middle, high) = sample(LatencyShape::LongTail);
        assert!(middle < 5 && high > 50);
        let mut links = links(|config| config.slow_machine = Some((2, 40)));
        assert_eq!((links.latency_ns((0, 1)), links.latency_ns((2, 2))), (0, 0));
        for link in [(0, 2), (2, 1)] {
            assert!((20_000_000..=40_000_000).contains(&links.latency_ns(link)));
        }
    }
}
