//! What becomes of a process with few descriptors. It is a program of its own, since it changes limits for good.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test of the door itself")]

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use thalweg_io::uring::UringCores;
use thalweg_io::{CoreMain, Cores, OpenMode};

const LIMIT: u64 = 200;
/// Nearly all descriptors, with the two ends of each in one process.
const CALLS: usize = 87;

fn limits() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit
}

#[test]
fn the_limit_is_raised_and_a_crowd_at_the_door_leaves_a_part_of_it_to_files() {
    let low = libc::rlimit { rlim_cur: 64, rlim_max: LIMIT };
    // SAFETY: the pointer is to a live rlimit that the call reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low) }, 0);
    let (tell, told) = mpsc::channel::<SocketAddr>();
    let crowd = std::thread::spawn(move || {
        let at = told.recv().unwrap();
        (0..CALLS).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<_>>()
    });
    // A panic ends its core alone.
    let (came_through, outcome) = mpsc::channel();
    let main: CoreMain = Box::new(move |_, io| {
        Box::pin(async move {
            let listener = io.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            tell.send(listener.address()).unwrap();
            let mut callers = Vec::new();
            let mut refused = None;
            while refused.is_none() && callers.len() < CALLS {
                match listener.accept().await {
                    Ok(caller) => callers.push(caller),
                    Err(error) => refused = Some(error),
                }
            }
            let refused = refused.expect("not everybody finds room");
            assert!(refused.to_string().contains("raise `ulimit -n`"), "{refused}");
            let own = std::env::current_exe().unwrap();
            let mut files = Vec::new();
            for _ in 0..LIMIT / 16 {
                files.push(io.disk().open(&own, OpenMode::Read).await.unwrap());
            }
            let enough = callers.len();
            callers.truncate(enough / 2);
            drop(files);
            // Closing takes a turn of the ring.
            io.clock().sleep_until(io.clock().now().after(std::time::Duration::from_millis(20))).await;
            assert!(listener.accept().await.is_ok(), "there is room again");
            came_through.send(()).unwrap();
        })
    });
    UringCores::new().start(vec![main]).unwrap().join();
    outcome.try_recv().expect("the core came to its end");
    assert_eq!((limits().rlim_cur, limits().rlim_max), (LIMIT, LIMIT));
    drop(crowd.join().unwrap());
}
