//! The promises of a ring: checked once with real threads, once under loom, which runs every interleaving and every allowed memory order.

use super::*;

#[cfg(not(loom))]
mod ordinary {
    use super::*;
    use std::sync::atomic::AtomicUsize as Count;
    use std::task::Wake;

    struct Counting(Count);

    impl Wake for Counting {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counting_waker() -> (std::sync::Arc<Counting>, Waker) {
        let counting = std::sync::Arc::new(Counting(Count::new(0)));
        (std::sync::Arc::clone(&counting), counting.into())
    }

    struct DropCounter(std::sync::Arc<Count>);

    impl Drop for DropCounter {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn elements_leave_in_the_order_in_which_they_came() {
        for capacity in [1, 2, 3, 5, 8] {
            let (mut producer, mut consumer) = ring(capacity);
            let mut expected = 0;
            for round in 0..100 {
                let mut pushed = 0;
                while producer.try_push(round * 10 + pushed).is_ok() {
                    pushed += 1;
                }
                assert_eq!((pushed, producer.len(), consumer.len()), (capacity, capacity, capacity));
                for n in 0..capacity {
                    assert_eq!(consumer.try_pop(), Some(round * 10 + n));
                    expected += 1;
                }
                assert_eq!(consumer.try_pop(), None);
            }
            assert_eq!(expected, 100 * capacity);
        }
    }

    #[test]
    fn a_full_ring_gives_the_element_back() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!((producer.try_push(1), producer.try_push(2), producer.try_push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(consumer.try_pop(), Some(1));
        assert_eq!(producer.try_push(3), Ok(()));
        assert_eq!((consumer.capacity(), producer.capacity()), (2, 2));
    }

    #[test]
    fn indices_may_wrap_around() {
        let (mut producer, mut consumer) = ring(3);
        let start = usize::MAX - 1;
        (producer.tail, producer.head_seen, consumer.head, consumer.tail_seen) = (start, start, start, start);
        producer.shared.producer.0.index.store(start, Ordering::Relaxed);
        producer.shared.consumer.0.index.store(start, Ordering::Relaxed);
        for n in 0..10 {
            assert_eq!(producer.try_push(n), Ok(()));
            assert_eq!(producer.try_push(n + 100), Ok(()));
            assert_eq!((consumer.len(), consumer.try_pop(), consumer.try_pop(), consumer.try_pop()), (2, Some(n), Some(n + 100), None));
        }
    }

    #[test]
    fn each_element_is_dropped_once_whoever_goes_first() {
        for producer_first in [true, false] {
            let drops = std::sync::Arc::new(Count::new(0));
            let (mut producer, mut consumer) = ring(4);
            for _ in 0..4 {
                assert!(producer.try_push(DropCounter(drops.clone())).is_ok());
            }
            drop(consumer.try_pop());
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            if producer_first {
                drop(producer);
                assert!(!consumer.is_finished());
                drop(consumer);
            } else {
                drop(consumer);
                assert_eq!(drops.load(Ordering::SeqCst), 4, "the consumer's end frees what is left");
                assert!(producer.is_closed());
                assert!(producer.try_push(DropCounter(drops.clone())).is_err());
                assert_eq!(drops.load(Ordering::SeqCst), 5);
                continue;
            }
            assert_eq!(drops.load(Ordering::SeqCst), 4);
        }
    }

    #[test]
    fn the_waker_is_used_once_and_only_if_somebody_waits() {
        let (mut producer, mut consumer) = ring(1);
        let (wakes, waker) = counting_waker();
        let mut cx = Context::from_waker(&waker);
        let woken = || wakes.0.load(Ordering::SeqCst);
        assert_eq!(producer.poll_room(&mut cx), Poll::Ready(true));
        producer.try_push(1).unwrap();
        assert_eq!((consumer.poll_items(&mut cx), consumer.try_pop(), woken()), (Poll::Ready(true), Some(1), 0));
        assert_eq!(consumer.poll_items(&mut cx), Poll::Pending);
        assert_eq!(consumer.poll_items(&mut cx), Poll::Pending);
        producer.try_push(2).unwrap();
        assert_eq!(woken(), 1);
        assert_eq!(producer.poll_room(&mut cx), Poll::Pending);
        assert_eq!((consumer.try_pop(), woken()), (Some(2), 2));
        producer.try_push(3).unwrap();
        assert_eq!((consumer.try_pop(), woken()), (Some(3), 2));
    }

    #[test]
    fn closing_wakes_the_other_side() {
        let (wakes, waker) = counting_waker();
        let mut cx = Context::from_waker(&waker);
        let (producer, mut consumer) = ring::<u8>(1);
        assert_eq!(consumer.poll_items(&mut cx), Poll::Pending);
        drop(producer);
        assert_eq!((wakes.0.load(Ordering::SeqCst), consumer.poll_items(&mut cx), consumer.is_finished()), (1, Poll::Ready(false), true));

        let (mut producer, consumer) = ring::<u8>(1);
        producer.try_push(1).unwrap();
        assert_eq!(producer.poll_room(&mut cx), Poll::Pending);
        drop(consumer);
        assert_eq!((wakes.0.load(Ordering::SeqCst), producer.poll_room(&mut cx)), (2, Poll::Ready(false)));
    }

    #[test]
    fn what_was_pushed_before_the_producer_went_still_arrives() {
        let (mut producer, mut consumer) = ring(2);
        producer.try_push(1).unwrap();
        drop(producer);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!((consumer.is_finished(), consumer.poll_items(&mut cx), consumer.try_pop()), (false, Poll::Ready(true), Some(1)));
        assert_eq!((consumer.is_finished(), consumer.poll_items(&mut cx)), (true, Poll::Ready(false)));
    }

    #[test]
    fn two_threads_that_park_often_lose_nothing() {
        const ELEMENTS: u64 = 200_000;
        for capacity in [1, 2, 7, 64] {
            let (mut producer, mut consumer) = ring(capacity);
            let pushing = std::thread::spawn(move || {
                crate::block_on(async move {
                    for n in 0..ELEMENTS {
                        assert!(std::future::poll_fn(|cx| producer.poll_room(cx)).await);
                        producer.try_push(Box::new(n)).unwrap();
                    }
                });
            });
            crate::block_on(async move {
                let mut next = 0;
                while std::future::poll_fn(|cx| consumer.poll_items(cx)).await {
                    while let Some(n) = consumer.try_pop() {
                        assert_eq!(*n, next);
                        next += 1;
                    }
                }
                assert_eq!(next, ELEMENTS);
            });
            pushing.join().unwrap();
        }
    }
}

/// Each test here fails under loom if a release or acquire of the ring is relaxed, if a fence of the parking goes, or if an element is dropped twice:
/// loom reports a data race on a slot, a thread that nobody wakes (as a deadlock), or a leaked or doubly freed allocation.
#[cfg(loom)]
mod under_loom {
    use super::*;
    use loom::sync::{Condvar, Mutex};
    use loom::thread;
    use std::task::Wake;

    /// Not loom's `unpark`: that also ends a `join`.
    struct Signal {
        raised: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Signal {
        fn wake(self: std::sync::Arc<Self>) {
            *self.raised.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    /// Polls until ready and sleeps in between until woken; a lost wake-up leaves it asleep, which loom reports as a deadlock.
    fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
        let signal = std::sync::Arc::new(Signal { raised: Mutex::new(false), changed: Condvar::new() });
        let waker = std::sync::Arc::clone(&signal).into();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(answer) = poll(&mut cx) {
                return answer;
            }
            let mut raised = signal.raised.lock().unwrap();
            while !*raised {
                raised = signal.changed.wait(raised).unwrap();
            }
            *raised = false;
            drop(raised);
            // A side that finds itself being woken polls again until the other is through; loom has to be told to let the other run.
            thread::yield_now();
        }
    }

    /// A bound of three preemptions finds each planted fault, and ends in seconds.
    fn model(f: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(f);
    }

    /// An element whose leak loom detects, and which detects itself when it is dropped twice.
    struct Element {
        n: usize,
        drops: std::sync::Arc<std::sync::atomic::AtomicUsize>,
        _leak_check: loom::alloc::Track<()>,
    }

    impl Drop for Element {
        fn drop(&mut self) {
            assert_eq!(self.drops.fetch_add(1, Ordering::SeqCst), 0, "element {} is dropped twice", self.n);
        }
    }

    fn tracked(n: usize) -> Element {
        Element { n, drops: std::sync::Arc::default(), _leak_check: loom::alloc::Track::new(()) }
    }

    fn send_and_receive(capacity: usize, elements: usize) {
        model(move || {
            let (mut producer, mut consumer) = ring(capacity);
            let pushing = thread::spawn(move || {
                for n in 0..elements {
                    assert!(wait(|cx| producer.poll_room(cx)));
                    assert!(producer.try_push(tracked(n)).is_ok());
                }
            });
            let mut next = 0;
            while wait(|cx| consumer.poll_items(cx)) {
                let element = consumer.try_pop().unwrap();
                assert_eq!(element.n, next);
                next += 1;
            }
            assert_eq!(next, elements);
            pushing.join().unwrap();
        });
    }

    #[test]
    fn a_ring_of_one_delivers_all_in_order_and_wakes_both_sides() {
        send_and_receive(1, 2);
    }

    #[test]
    fn a_ring_of_two_delivers_all_in_order_and_wakes_both_sides() {
        send_and_receive(2, 3);
    }

    #[test]
    fn a_consumer_that_goes_frees_what_is_left_and_wakes_the_producer() {
        model(|| {
            let (mut producer, mut consumer) = ring(1);
            let pushing = thread::spawn(move || {
                let mut n = 0;
                while wait(|cx| producer.poll_room(cx)) {
                    let _ = producer.try_push(tracked(n));
                    n += 1;
                }
            });
            assert!(wait(|cx| consumer.poll_items(cx)));
            assert_eq!(consumer.try_pop().unwrap().n, 0);
            drop(consumer);
            pushing.join().unwrap();
        });
    }

    #[test]
    fn a_producer_that_wants_less_in_the_ring_than_it_holds_is_woken_when_there_is() {
        model(|| {
            let (mut producer, mut consumer) = ring(2);
            let pushing = thread::spawn(move || {
                for n in 0..2 {
                    assert!(wait(|cx| producer.poll_room_within(1, cx)));
                    assert!(producer.try_push_within(1, tracked(n)).is_ok());
                }
            });
            for n in 0..2 {
                assert!(wait(|cx| consumer.poll_items(cx)));
                assert_eq!((consumer.len(), consumer.try_pop().unwrap().n), (1, n));
            }
            pushing.join().unwrap();
        });
    }

    /// The word and the nudge go opposite ways: a side that parks and then looks at the word misses neither.
    #[test]
    fn a_consumer_that_is_nudged_sees_the_word_that_was_left_for_it() {
        model(|| {
            let (elements, mut elements_end) = ring::<usize>(1);
            let (words, mut words_end) = ring::<usize>(1);
            let telling = thread::spawn(move || {
                words_end.tell(7);
                elements.nudge();
                (elements, words_end)
            });
            wait(|cx| match (elements_end.poll_items(cx), words.word()) {
                (_, 7) => Poll::Ready(()),
                _ => Poll::Pending,
            });
            drop(telling.join().unwrap());
        });
    }

    #[test]
    fn a_producer_that_goes_wakes_the_consumer() {
        model(|| {
            let (producer, mut consumer) = ring::<usize>(1);
            let dropping = thread::spawn(move || drop(producer));
            assert!(!wait(|cx| consumer.poll_items(cx)));
            dropping.join().unwrap();
        });
    }
}
