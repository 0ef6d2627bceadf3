//! Clocks and random streams.

use super::{World, cases, on_one_core};
use crate::Spawner;
use crate::{Io, MonotonicNs, TaskClass};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

cases![
    the_monotonic_clock_never_goes_backwards,
    a_sleep_does_not_return_early,
    a_sleep_until_a_moment_that_has_passed_returns,
    sleeps_end_in_the_order_of_their_deadlines,
    a_sleep_that_is_dropped_wakes_nobody,
    equal_names_give_equal_random_streams_and_other_names_others,
];

fn the_monotonic_clock_never_goes_backwards(world: &dyn World) {
    on_one_core(world, |io| async move {
        let mut before = io.clock().now();
        for round in 0..1000 {
            if round % 100 == 0 {
                crate::yield_now().await;
            }
            let now = io.clock().now();
            assert!(now >= before);
            before = now;
        }
    });
}

fn a_sleep_does_not_return_early(world: &dyn World) {
    on_one_core(world, |io| async move {
        for micros in [1, 50, 999, 5000] {
            let deadline = io.clock().now().after(Duration::from_micros(micros));
            io.clock().sleep_until(deadline).await;
            assert!(io.clock().now() >= deadline, "a sleep of {micros} us was cut short");
        }
    });
}

fn a_sleep_until_a_moment_that_has_passed_returns(world: &dyn World) {
    on_one_core(world, |io| async move {
        io.clock().sleep_until(io.clock().now()).await;
        io.clock().sleep_until(MonotonicNs(0)).await;
    });
}

fn sleeps_end_in_the_order_of_their_deadlines(world: &dyn World) {
    on_one_core(world, |io: Io| async move {
        let start = io.clock().now();
        let woken = Rc::new(RefCell::new(vec![]));
        for millis in [30, 10, 50, 20, 40] {
            let (slept, woken) = (io.clock().sleep_until(start.after(Duration::from_millis(millis))), Rc::clone(&woken));
            let task = async move {
                slept.await;
                woken.borrow_mut().push(millis);
            };
            Spawner::spawn(io.spawner(), TaskClass::Latency, "sleeper", Box::pin(task));
        }
        io.clock().sleep_until(start.after(Duration::from_millis(200))).await;
        assert_eq!(*woken.borrow(), [10, 20, 30, 40, 50]);
    });
}

fn a_sleep_that_is_dropped_wakes_nobody(world: &dyn World) {
    on_one_core(world, |io| async move {
        let start = io.clock().now();
        for _ in 0..100 {
            let given_up = super::within(&io, Duration::ZERO, io.clock().sleep_until(start.after(Duration::from_millis(20)))).await;
            assert_eq!(given_up, None);
        }
        io.clock().sleep_until(start.after(Duration::from_millis(40))).await;
    });
}

fn equal_names_give_equal_random_streams_and_other_names_others(world: &dyn World) {
    on_one_core(world, |io| async move {
        let draw = |name: &str| {
            let mut stream = io.rng(name);
            [(); 8].map(|()| stream.next_u64())
        };
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        assert_ne!(draw("a"), draw(""));
    });
}
