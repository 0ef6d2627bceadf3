//! Tasks. The order in which several tasks run is promised nowhere, and assumed nowhere.

use super::{Promised, World, cases, on_one_core};
use crate::{Io, Mailbox, TaskClass, mailbox, yield_now};
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const CLASSES: [TaskClass; 3] = [TaskClass::Latency, TaskClass::Throughput, TaskClass::Background];

cases![
    tasks_of_every_class_run_to_their_end,
    a_task_may_start_tasks,
    a_task_that_yields_lets_the_others_run,
    tasks_under_way_are_dropped_when_their_core_ends,
    each_core_has_its_own_number,
];

async fn wait_for(count: usize, mut reports: crate::MailboxReceiver<u32>) -> Vec<u32> {
    let mut received = vec![];
    while received.len() < count {
        received.push(reports.recv().await.expect("all tasks report"));
    }
    received.sort_unstable();
    received
}

fn tasks_of_every_class_run_to_their_end(world: &dyn World) {
    on_one_core(world, |io| async move {
        let (sender, receiver) = mailbox();
        for n in 0..30 {
            let sender: Mailbox<u32> = sender.clone();
            let task = async move {
                for _ in 0..n {
                    yield_now().await;
                }
                sender.send(n).promised();
            };
            io.spawner().spawn(CLASSES[n as usize % 3], "counting", Box::pin(task));
        }
        assert_eq!(wait_for(30, receiver).await, (0..30).collect::<Vec<_>>());
    });
}

fn a_task_may_start_tasks(world: &dyn World) {
    fn spawn_chain(io: Io, left: u32, sender: Mailbox<u32>) {
        io.clone().spawner().spawn(
            CLASSES[left as usize % 3],
            "link",
            Box::pin(async move {
                sender.send(left).promised();
                if left > 0 {
                    spawn_chain(io, left - 1, sender);
                }
            }),
        );
    }
    on_one_core(world, |io| async move {
        let (sender, receiver) = mailbox();
        spawn_chain(io, 9, sender);
        assert_eq!(wait_for(10, receiver).await, (0..10).collect::<Vec<_>>());
    });
}

fn a_task_that_yields_lets_the_others_run(world: &dyn World) {
    on_one_core(world, |io| async move {
        let turns = Rc::new([const { Cell::new(0u32) }; 3]);
        for n in 0..3 {
            let turns = Rc::clone(&turns);
            let task = async move {
                loop {
                    turns[n].set(turns[n].get() + 1);
                    yield_now().await;
                }
            };
            io.spawner().spawn(TaskClass::Throughput, "busy", Box::pin(task));
        }
        let least = || turns.iter().map(Cell::get).min().unwrap_or(0);
        super::within(&io, super::PATIENCE, async {
            while least() < 1000 {
                yield_now().await;
            }
        })
        .await
        .expect("a task of the same class starves");
        let most = turns.iter().map(Cell::get).max().unwrap_or(0);
        assert!(most <= 10 * least(), "one task had {most} turns, another {}", least());
    });
}

fn tasks_under_way_are_dropped_when_their_core_ends(world: &dyn World) {
    struct OnDrop(Arc<AtomicU32>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&dropped);
    on_one_core(world, move |io| async move {
        for class in CLASSES {
            let guard = OnDrop(Arc::clone(&dropped));
            let task = async move {
                let _guard = guard;
                pending::<()>().await;
            };
            io.spawner().spawn(class, "waiting for ever", Box::pin(task));
        }
        yield_now().await;
    });
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

fn each_core_has_its_own_number(world: &dyn World) {
    let (sender, receiver) = mailbox();
    let main = |sender: Mailbox<usize>| -> crate::CoreMain {
        Box::new(move |core, _| {
            Box::pin(async move {
                sender.send(core.0).promised();
            })
        })
    };
    world.run((0..3).map(|_| main(sender.clone())).collect());
    drop(sender);
    let mut receiver = receiver;
    let mut numbers: Vec<_> = std::iter::from_fn(|| receiver.try_recv()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);
}
