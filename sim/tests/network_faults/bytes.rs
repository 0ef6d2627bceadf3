//! What a connection carries: how long it takes, in which pieces it comes, and which bits of it are wrong.

use crate::duo::{at_write, duo, injected, ms_since, read_all};
use crate::talk::{read, write};
use std::collections::BTreeSet;
use thalweg_io::Buffer;
use thalweg_sim::{Between, FaultCounts, LatencyShape, NetConfig, NetFaultKind};

#[test]
fn what_is_sent_takes_as_long_as_the_latency_says_and_longer_to_a_slow_peer() {
    let round_trip = |slow| {
        let change = move |net: &mut NetConfig| {
            (net.latency_ms_max, net.latency_shape, net.slow_machine) = (50, LatencyShape::Constant, slow);
        };
        duo(
            1,
            change,
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    let heard = read(&mut from).await.unwrap();
                    write(&mut to, &heard).await.unwrap();
                })
            },
            |io, (mut from, mut to)| {
                Box::pin(async move {
                    let start = io.clock().now();
                    write(&mut to, b"ping").await.unwrap();
                    assert_eq!(read(&mut from).await.unwrap(), b"ping");
                    ms_since(&io, start)
                })
            },
        )
        .1
        .1
    };
    assert!((100..=104).contains(&round_trip(None)));
    assert!((300..=504).contains(&round_trip(Some((0, 200)))));
    assert!((100..=104).contains(&round_trip(Some((2, 200)))), "it is no part of this");
}

#[test]
fn a_flipped_bit_is_one_bit_of_the_write_that_was_meant_and_its_buffer_comes_back_whole() {
    let mut places = BTreeSet::new();
    for seed in 0..40 {
        let (world, (heard, ())) = duo(
            seed,
            |net| net.faults = vec![at_write(1, NetFaultKind::BitFlip).between(Between::machines(1, 0))],
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    write(&mut to, &[0; 16]).await.unwrap();
                    write(&mut to, &[0; 16]).await.unwrap();
                    read_all(&mut from).await
                })
            },
            |_, (mut from, mut to)| {
                Box::pin(async move {
                    for _ in 0..3 {
                        let returned = to.write_all(Buffer::from(&[0; 16][..])).await.unwrap();
                        assert_eq!(returned[..], [0; 16]);
                    }
                    drop(to);
                    assert_eq!(read(&mut from).await.unwrap().iter().map(|byte| byte.count_ones()).sum::<u32>(), 0);
                })
            },
        );
        let wrong: Vec<_> = heard.0.iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
        assert!(matches!(&wrong[..], [(16..32, byte)] if byte.count_ones() == 1), "{wrong:?}");
        places.insert((wrong[0].0, *wrong[0].1));
        assert_eq!(injected(&world), FaultCounts::from([("net: bit flipped", 1)]));
    }
    assert!(places.len() > 20);
}

#[test]
fn short_reads_and_writes_and_tiny_buffers_change_nothing_but_the_pieces() {
    let mut pieces_seen = BTreeSet::new();
    for seed in 0..20 {
        let (world, (pieces, ())) = duo(
            seed,
            |net| {
                (net.buffer_bytes, net.short_read_per_mille, net.short_write_per_mille) = (vec![1, 7, 64, 5_000], 300, 500);
            },
            |_, (mut from, _to)| {
                Box::pin(async move {
                    let (mut pieces, mut bytes) = (vec![], vec![]);
                    loop {
                        let piece = read(&mut from).await.unwrap();
                        if piece.is_empty() {
                            break;
                        }
                        pieces.push(piece.len());
                        bytes.extend(piece);
                    }
                    assert_eq!(bytes, (0..20).flat_map(|n| [n; 100]).collect::<Vec<u8>>());
                    pieces
                })
            },
            |_, (_from, mut to)| {
                Box::pin(async move {
                    for n in 0..20 {
                        write(&mut to, &[n; 100]).await.unwrap();
                    }
                })
            },
        );
        assert!(pieces.iter().any(|len| len % 100 != 0));
        pieces_seen.insert(pieces);
        let counts = injected(&world);
        assert!(counts.keys().all(|name| name.starts_with("net: short")));
    }
    assert!(pieces_seen.len() > 15);
}
