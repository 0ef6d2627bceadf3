//! The promise of a doorbell: no letter lies in it while its core sleeps and nobody rings.

use super::*;

#[cfg(not(loom))]
mod ordinary {
    use super::*;

    #[test]
    fn only_the_first_sender_rings_and_only_for_a_core_that_sleeps() {
        let doorbell = Doorbell::new();
        assert!(!doorbell.deliver(1), "the core is up");
        assert!(!doorbell.doze(), "there is mail");
        assert_eq!(doorbell.take(), [1]);
        assert!(doorbell.doze());
        assert_eq!((doorbell.deliver(2), doorbell.deliver(3)), (true, false));
        doorbell.awake();
        assert_eq!((doorbell.take(), doorbell.take()), (vec![2, 3], vec![]));
    }

    #[test]
    fn a_core_that_woke_by_itself_is_not_rung_for() {
        let doorbell = Doorbell::new();
        assert!(doorbell.doze());
        doorbell.awake();
        assert!(!doorbell.deliver(1));
        assert!(!doorbell.doze());
        assert!(!doorbell.deliver(2), "it did not fall asleep");
        assert_eq!(doorbell.take(), [1, 2]);
    }

    #[test]
    fn a_closed_one_keeps_nothing() {
        let doorbell = Doorbell::new();
        let letter = std::sync::Arc::new(());
        assert!(!doorbell.deliver(letter.clone()));
        assert_eq!(doorbell.close().len(), 1);
        assert!(doorbell.doze());
        assert!(!doorbell.deliver(letter.clone()));
        assert_eq!((std::sync::Arc::strong_count(&letter), doorbell.take().len()), (1, 0));
    }
}

/// Fails under loom if the core announces its sleep under another lock than that under which it looks, if it relies on `has_mail` and that is raised
/// outside the lock, or if a sender asks whether to ring before it leaves its letter: a core that nobody wakes is a deadlock. Each of these faults has been
/// planted once.
#[cfg(loom)]
mod under_loom {
    use super::*;
    use loom::sync::{Arc, Notify};
    use loom::thread;

    /// A core that sleeps whenever there is no letter, until it has all of them. loom's bell also rings once spuriously: a timer, a completion.
    fn all_arrive(senders: usize, letters_each: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let doorbell = Arc::new(Doorbell::new());
            let bell = Arc::new(Notify::new());
            let sending: Vec<_> = (0..senders)
                .map(|_| {
                    let (doorbell, bell) = (Arc::clone(&doorbell), Arc::clone(&bell));
                    thread::spawn(move || {
                        for _ in 0..letters_each {
                            if doorbell.deliver(()) {
                                bell.notify();
                            }
                        }
                    })
                })
                .collect();
            let mut arrived = 0;
            loop {
                arrived += doorbell.take().len();
                if arrived == senders * letters_each {
                    break;
                }
                if doorbell.doze() {
                    bell.wait();
                    doorbell.awake();
                }
            }
            sending.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn a_core_hears_of_every_letter_of_one_sender() {
        all_arrive(1, 3);
    }

    #[test]
    fn a_core_hears_of_every_letter_of_two_senders() {
        all_arrive(2, 1);
        all_arrive(2, 2);
    }

    #[test]
    fn a_letter_to_a_core_that_ends_is_dropped_and_not_kept() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let doorbell = Arc::new(Doorbell::new());
            let letter = std::sync::Arc::new(());
            let sending = {
                let (doorbell, letter) = (Arc::clone(&doorbell), std::sync::Arc::clone(&letter));
                thread::spawn(move || doorbell.deliver(letter))
            };
            drop(doorbell.close());
            assert!(!sending.join().unwrap());
            assert_eq!(std::sync::Arc::strong_count(&letter), 1);
        });
    }
}
