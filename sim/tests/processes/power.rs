//! Machines that lose power: what their peers hear, and what is left on the disk.

use crate::setup::{calm, create, start, write_at};
use crate::talk::{door, read, sleep_ms, write};
use std::io::ErrorKind;
use thalweg_io::{Io, LocalBoxFuture, mailbox};
use thalweg_sim::CrashStyle;

#[test]
fn a_machine_that_loses_power_says_nothing_and_knows_nothing_when_it_is_back() {
    let (_, (silent, refused, answers)) = calm(|cluster| async move {
        let (server, client) = (cluster.start("server"), cluster.start("client"));
        let address = door(&server);
        start(&server, move |io| {
            Box::pin(async move {
                let listener = io.net().listen(address).await.unwrap();
                let (mut from, _to, _) = listener.accept().await.unwrap();
                while let Ok(heard) = read(&mut from).await
                    && !heard.is_empty()
                {}
            })
        });
        cluster.sleep_ms(10).await;
        let (to_host, mut from_client) = mailbox();
        let (to_client, mut go_on) = mailbox::<()>();
        start(&client, move |io| {
            Box::pin(async move {
                let (mut from, mut to) = io.net().connect(address).await.unwrap();
                write(&mut to, b"hello").await.unwrap();
                to_host.send(Err(ErrorKind::Other)).unwrap();
                // The power is off.
                go_on.recv().await.unwrap();
                let mut hearing = Box::pin(read(&mut from));
                let mut waiting = Box::pin(sleep_ms(&io, 600_000));
                std::future::poll_fn(|cx| {
                    assert!(hearing.as_mut().poll(cx).is_pending());
                    waiting.as_mut().poll(cx)
                })
                .await;
                drop(hearing);
                let connected = io.net().connect(address).await.err().map(|error| error.kind());
                to_host.send(write(&mut to, b"is anybody there?").await).unwrap();
                to_host.send(Err(connected.unwrap())).unwrap();
                // It is on again.
                go_on.recv().await.unwrap();
                sleep_ms(&io, 5_000).await;
                let connected = io.net().connect(address).await.err().map(|error| error.kind());
                to_host.send(Err(connected.unwrap())).unwrap();
                to_host.send(read(&mut from).await.map(drop)).unwrap();
                // It was asked before; now it answers.
                let _ = write(&mut to, b"hello?").await;
                sleep_ms(&io, 5_000).await;
                to_host.send(read(&mut from).await.map(drop)).unwrap();
                to_host.send(write(&mut to, b"hello?").await).unwrap();
            })
        });
        from_client.recv().await.unwrap().unwrap_err();
        server.machine().power_loss(CrashStyle::Random);
        assert!(!server.is_alive());
        to_client.send(()).unwrap();
        let silent = [from_client.recv().await.unwrap(), from_client.recv().await.unwrap()];
        let _next = server.restart();
        to_client.send(()).unwrap();
        let refused = from_client.recv().await.unwrap();
        let mut answers = vec![];
        for _ in 0..3 {
            answers.push(from_client.recv().await.unwrap());
        }
        (silent, refused, answers)
    });
    assert_eq!(silent, [Ok(()), Err(ErrorKind::TimedOut)], "what is written waits; who connects waits in vain");
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    assert_eq!(answers, [Err(ErrorKind::ConnectionReset), Ok(()), Err(ErrorKind::BrokenPipe)]);
}

#[test]
fn a_loss_of_power_takes_what_that_machine_has_not_synced_and_nothing_of_the_others() {
    let half_synced = |name: &'static str| {
        move |io: Io| -> LocalBoxFuture<()> {
            Box::pin(async move {
                let file = create(&io, name).await;
                write_at(&*file, 0, b"synced ").await;
                file.sync().await.unwrap();
                write_at(&*file, 7, b"unsynced").await;
                sleep_ms(&io, 1_000_000).await;
            })
        }
    };
    let run = |everywhere: bool| {
        calm(move |cluster| async move {
            let (one, other) = (cluster.start("one"), cluster.start("other"));
            // On the same machine as the first, and dead already: its pages were in the same cache.
            let before = one.machine().start("before", 1);
            start(&one, half_synced("one"));
            start(&other, half_synced("other"));
            start(&before, half_synced("before"));
            cluster.sleep_ms(100).await;
            before.kill();
            match everywhere {
                false => one.machine().power_loss(CrashStyle::LoseUnsynced),
                true => {
                    cluster.disk().put("stays", "").unwrap();
                    cluster.power_loss(CrashStyle::LoseUnsynced);
                }
            }
            assert_eq!((one.is_alive(), other.is_alive()), (false, !everywhere));
            let content = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8(bytes).unwrap());
            cluster.disk().files("/").unwrap().into_iter().map(content).collect::<Vec<_>>()
        })
        .1
    };
    let of = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    assert_eq!(run(false), [of("before", "synced "), of("one", "synced "), of("other", "synced unsynced")]);
    assert_eq!(run(true), [of("stays", "")], "names were not synced either");
}
