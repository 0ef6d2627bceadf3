//! Rings and mailboxes between two cores: the same code everywhere, but each world has its own wakers and threads.

use super::{Promised, World, cases, on_two_cores, pause};
use crate::{Buffer, Consumer, Producer, mailbox, ring};
use std::future::poll_fn;
use std::time::Duration;

cases![
    a_ring_between_cores_keeps_the_order,
    a_full_ring_holds_its_producer_back,
    a_consumer_that_sleeps_is_woken_by_each_element,
    a_producer_that_sleeps_is_woken_by_room,
    a_producer_that_goes_ends_the_stream_after_its_last_element,
    a_consumer_that_goes_is_noticed_by_a_producer_that_waits,
    frames_are_handed_back_through_a_second_ring,
    a_mailbox_carries_messages_between_cores,
];

async fn push<T>(producer: &mut Producer<T>, element: T) {
    assert!(poll_fn(|cx| producer.poll_room(cx)).await, "the consumer is gone");
    assert!(producer.try_push(element).is_ok(), "there was room");
}

async fn pop<T>(consumer: &mut Consumer<T>) -> Option<T> {
    if !poll_fn(|cx| consumer.poll_items(cx)).await {
        return None;
    }
    Some(consumer.try_pop().expect("there was an element"))
}

fn a_ring_between_cores_keeps_the_order(world: &dyn World) {
    for capacity in [1, 2, 3, 64] {
        let (mut producer, mut consumer) = ring(capacity);
        on_two_cores(
            world,
            move |_| async move {
                for n in 0..1000u32 {
                    push(&mut producer, n).await;
                }
            },
            move |_| async move {
                for n in 0..1000 {
                    assert_eq!(pop(&mut consumer).await, Some(n));
                }
                assert_eq!(pop(&mut consumer).await, None);
                assert!(consumer.is_finished());
            },
        );
    }
}

fn a_full_ring_holds_its_producer_back(world: &dyn World) {
    let (mut producer, mut consumer) = ring(4);
    on_two_cores(
        world,
        move |io| async move {
            let start = io.clock().now();
            for n in 0..5 {
                push(&mut producer, n).await;
            }
            io.clock().now().since(start)
        },
        move |io| async move {
            while consumer.len() < 4 {
                pause(&io, Duration::from_millis(1)).await;
            }
            pause(&io, Duration::from_millis(20)).await;
            assert_eq!(consumer.len(), 4, "a fifth element went into a ring of four");
            for n in 0..5 {
                assert_eq!(pop(&mut consumer).await, Some(n));
            }
        },
    );
}

fn a_consumer_that_sleeps_is_woken_by_each_element(world: &dyn World) {
    let (mut producer, mut consumer) = ring(8);
    on_two_cores(
        world,
        move |io| async move {
            for n in 0..20 {
                pause(&io, Duration::from_millis(2)).await;
                push(&mut producer, n).await;
            }
        },
        move |_| async move {
            for n in 0..20 {
                assert_eq!(pop(&mut consumer).await, Some(n));
            }
        },
    );
}

fn a_producer_that_sleeps_is_woken_by_room(world: &dyn World) {
    let (mut producer, mut consumer) = ring(1);
    on_two_cores(
        world,
        move |_| async move {
            for n in 0..20 {
                push(&mut producer, n).await;
            }
        },
        move |io| async move {
            for n in 0..20 {
                pause(&io, Duration::from_millis(2)).await;
                assert_eq!(pop(&mut consumer).await, Some(n));
            }
        },
    );
}

fn a_producer_that_goes_ends_the_stream_after_its_last_element(world: &dyn World) {
    let (mut producer, mut consumer) = ring(8);
    on_two_cores(
        world,
        move |io| async move {
            push(&mut producer, "last").await;
            pause(&io, Duration::from_millis(10)).await;
        },
        move |_| async move {
            assert_eq!(pop(&mut consumer).await, Some("last"));
            assert_eq!(pop(&mut consumer).await, None);
        },
    );
}

fn a_consumer_that_goes_is_noticed_by_a_producer_that_waits(world: &dyn World) {
    let (mut producer, consumer) = ring(1);
    on_two_cores(
        world,
        move |_| async move {
            push(&mut producer, 1).await;
            assert!(!poll_fn(|cx| producer.poll_room(cx)).await);
            assert!(producer.is_closed());
            assert_eq!(producer.try_push(2), Err(2));
        },
        move |io| async move {
            pause(&io, Duration::from_millis(10)).await;
            drop(consumer);
        },
    );
}

fn frames_are_handed_back_through_a_second_ring(world: &dyn World) {
    const FRAMES: u8 = 4;
    let (mut out, mut arrivals) = ring::<Buffer>(usize::from(FRAMES));
    let (mut back, mut returns) = ring::<Buffer>(usize::from(FRAMES));
    on_two_cores(
        world,
        move |_| async move {
            let mut places = vec![];
            for _ in 0..FRAMES {
                let frame = Buffer::with_capacity(4096);
                places.push(frame.as_ptr() as usize);
                assert!(back.try_push(frame).is_ok());
            }
            // The same four frames circulate: a frame arrives as it was sent, never as a copy.
            for n in 0..1000u32 {
                let frame = pop(&mut arrivals).await.promised();
                assert!(places.contains(&(frame.as_ptr() as usize)));
                assert_eq!(*frame, n.to_le_bytes());
                // There is room for all four. A push fails only when the sender, done with its last frame, is gone.
                if let Err(frame) = back.try_push(frame) {
                    assert!(back.is_closed() && !frame.is_empty());
                }
            }
        },
        move |_| async move {
            for n in 0..1000u32 {
                let mut frame = pop(&mut returns).await.promised();
                frame.clear();
                frame.extend_from_slice(&n.to_le_bytes());
                push(&mut out, frame).await;
            }
        },
    );
}

fn a_mailbox_carries_messages_between_cores(world: &dyn World) {
    let (sender, mut receiver) = mailbox();
    let second = sender.clone();
    on_two_cores(
        world,
        move |io| async move {
            for n in 0..100 {
                if n % 10 == 0 {
                    pause(&io, Duration::from_millis(1)).await;
                }
                sender.send(n).promised();
            }
        },
        move |_| async move {
            for n in 0..100 {
                assert_eq!(receiver.recv().await, Some(n));
            }
            second.send(100).promised();
            drop(second);
            assert_eq!(receiver.recv().await, Some(100));
            assert_eq!(receiver.recv().await, None);
        },
    );
}
