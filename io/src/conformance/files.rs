//! Reading and writing bytes of files.

use super::{Promised, World, cases, on_one_core, pattern, within};
use crate::{Buffer, File, Io, OpenMode, ReadRequest, yield_now};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

cases![
    what_was_written_is_read_back_at_any_offset_and_length,
    what_was_written_around_the_page_cache_is_read_back_likewise,
    a_hole_reads_as_zeros,
    a_read_is_short_only_at_the_end_of_the_file,
    a_read_at_or_behind_the_end_is_empty,
    a_read_replaces_what_the_buffer_held,
    a_batch_of_reads_answers_in_the_order_of_its_requests,
    writes_to_disjoint_ranges_may_be_under_way_together,
    a_write_in_the_middle_leaves_the_rest,
    opening_for_writing_does_not_truncate,
    a_new_and_empty_file_can_be_read_and_synced,
    large_transfers_arrive_whole,
    an_operation_whose_future_is_dropped_harms_nothing,
];

async fn new_file(io: &Io, path: &std::path::Path) -> Rc<dyn File> {
    io.disk().open(path, OpenMode::CreateNew).await.promised()
}

async fn read(file: &dyn File, offset: u64, len: usize) -> Buffer {
    let mut buffer = file.read_at(offset, Buffer::with_capacity(len)).await.promised();
    // A buffer may have more room than was requested, and a read uses all of it.
    buffer.truncate(len);
    buffer
}

fn in_file(world: &dyn World, body: impl AsyncFnOnce(Io, Rc<dyn File>, PathBuf) + Send + 'static) {
    let path = world.scratch().join("file");
    on_one_core(world, |io| async move {
        let file = new_file(&io, &path).await;
        body(io, file, path).await;
    });
}

/// Writes these ranges one after the other, over each other in part. Returns what is in the file then.
async fn write_ranges(file: &dyn File, ranges: &[(usize, usize)]) -> Vec<u8> {
    let mut model = vec![];
    for (n, &(offset, len)) in ranges.iter().enumerate() {
        let bytes = pattern(len, n as u64);
        if model.len() < offset + len {
            model.resize(offset + len, 0);
        }
        model[offset..offset + len].copy_from_slice(&bytes);
        let returned = file.write_at(offset as u64, bytes[..].into()).await.promised();
        assert_eq!(*returned, bytes, "a write gives its buffer back as it was");
    }
    model
}

fn what_was_written_is_read_back_at_any_offset_and_length(world: &dyn World) {
    in_file(world, async |_, file, _| {
        let ranges = [(0, 10), (7, 5000), (4095, 2), (4096, 4096), (8191, 4098), (12_345, 1), (20_000, 9000)];
        let model = write_ranges(&*file, &ranges).await;
        assert_eq!(file.len().await.promised(), model.len() as u64);
        for offset in [0, 1, 9, 4094, 4096, 8190, 12_344, 19_999, 28_999] {
            for len in [1, 2, 511, 4096, 4097, 10_000] {
                let expected = &model[offset..(offset + len).min(model.len())];
                assert_eq!(&*read(&*file, offset as u64, len).await, expected, "{len} bytes at {offset}");
            }
        }
    });
}

/// Whole pages, pages with a rest behind them, pages over bytes and bytes over pages; both ways to write meet in one file.
fn what_was_written_around_the_page_cache_is_read_back_likewise(world: &dyn World) {
    let path = world.scratch().join("uncached");
    on_one_core(world, |io| async move {
        let file = io.disk().open(&path, OpenMode::CreateUncached).await.promised();
        let ranges =
            [(0, 8192), (8192, 4096 + 100), (12_388, 9000), (4096, 4096), (16_384, 40_000), (5000, 10), (1 << 20, 300_000), (20_480, 4095)];
        let model = write_ranges(&*file, &ranges).await;
        file.sync().await.promised();
        assert_eq!(file.len().await.promised(), model.len() as u64);
        assert!(*read(&*file, 0, model.len()).await == model[..], "through the file that wrote it");
        let again = io.disk().open(&path, OpenMode::Read).await.promised();
        assert!(*read(&*again, 0, model.len()).await == model[..], "opened again");
        let exists = io.disk().open(&path, OpenMode::CreateUncached).await.map(drop);
        assert!(matches!(exists, Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists));
    });
}

fn a_hole_reads_as_zeros(world: &dyn World) {
    in_file(world, async |_, file, _| {
        file.write_at(100_000, b"end"[..].into()).await.promised();
        assert_eq!(file.len().await.promised(), 100_003);
        let bytes = read(&*file, 0, 100_003).await;
        assert!(bytes.len() == 100_003 && bytes[..100_000].iter().all(|&byte| byte == 0) && bytes[100_000..] == *b"end");
    });
}

fn a_read_is_short_only_at_the_end_of_the_file(world: &dyn World) {
    in_file(world, async |_, file, _| {
        let bytes = pattern(300_000, 1);
        file.write_at(0, bytes[..].into()).await.promised();
        for (offset, capacity) in [(0usize, 300_000usize), (0, 4096), (1, 299_999), (131_071, 70_000), (299_999, 1)] {
            let buffer = Buffer::with_capacity(capacity);
            let expected = &bytes[offset..(offset + buffer.capacity()).min(bytes.len())];
            assert_eq!(&*file.read_at(offset as u64, buffer).await.promised(), expected);
        }
        assert_eq!(&*file.read_at(299_990, Buffer::with_capacity(4096)).await.promised(), &bytes[299_990..]);
    });
}

fn a_read_at_or_behind_the_end_is_empty(world: &dyn World) {
    in_file(world, async |_, file, _| {
        file.write_at(0, pattern(5000, 1)[..].into()).await.promised();
        for offset in [5000, 5001, 8192, 1 << 40] {
            assert!(file.read_at(offset, Buffer::with_capacity(4096)).await.promised().is_empty());
        }
    });
}

fn a_read_replaces_what_the_buffer_held(world: &dyn World) {
    in_file(world, async |_, file, _| {
        file.write_at(0, b"new"[..].into()).await.promised();
        let mut buffer = Buffer::with_capacity(16);
        buffer.extend_from_slice(b"old content");
        assert_eq!(&*file.read_at(0, buffer).await.promised(), b"new");
    });
}

fn a_batch_of_reads_answers_in_the_order_of_its_requests(world: &dyn World) {
    in_file(world, async |_, file, _| {
        let bytes = pattern(600 * 1024, 1);
        file.write_at(0, bytes[..].into()).await.promised();
        assert!(file.read_batch(vec![]).await.is_empty());
        // More reads than a submission queue holds, in no order, some beyond the end.
        let offsets: Vec<usize> = (0..700).map(|n| n * 7919 % 700 * 1024 + n % 13).collect();
        let request = |&offset: &usize| ReadRequest { offset: offset as u64, buffer: Buffer::with_capacity(512) };
        let results = file.read_batch(offsets.iter().map(request).collect()).await;
        assert_eq!(results.len(), offsets.len());
        for (offset, result) in offsets.into_iter().zip(results) {
            let mut buffer = result.promised();
            buffer.truncate(512);
            let expected = bytes.get(offset..).unwrap_or_default();
            assert_eq!(&*buffer, &expected[..expected.len().min(512)], "at {offset}");
        }
    });
}

fn writes_to_disjoint_ranges_may_be_under_way_together(world: &dyn World) {
    in_file(world, async |_, file, _| {
        let bytes = pattern(64 * 3000, 2);
        let mut writes: Vec<_> = bytes.chunks(3000).zip(0..).map(|(part, n)| file.write_at(n * 3000, part.into())).collect();
        let mut left = writes.len();
        let mut done = vec![false; left];
        poll_fn(|cx| {
            for (write, done) in writes.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
                if let Poll::Ready(result) = write.as_mut().poll(cx) {
                    result.promised();
                    *done = true;
                    left -= 1;
                }
            }
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(*read(&*file, 0, bytes.len()).await == *bytes);
    });
}

fn a_write_in_the_middle_leaves_the_rest(world: &dyn World) {
    in_file(world, async |_, file, _| {
        file.write_at(0, b"0123456789"[..].into()).await.promised();
        file.write_at(3, b"abc"[..].into()).await.promised();
        file.write_at(5, b""[..].into()).await.promised();
        assert_eq!(&*read(&*file, 0, 64).await, b"012abc6789");
    });
}

fn opening_for_writing_does_not_truncate(world: &dyn World) {
    in_file(world, async |io, file, path| {
        file.write_at(0, b"0123456789"[..].into()).await.promised();
        drop(file);
        let file = io.disk().open(&path, OpenMode::Write).await.promised();
        assert_eq!(file.len().await.promised(), 10);
        file.write_at(10, b"!"[..].into()).await.promised();
        assert_eq!(&*read(&*file, 0, 64).await, b"0123456789!");
        let reader = io.disk().open(&path, OpenMode::Read).await.promised();
        assert!(reader.write_at(0, b"x"[..].into()).await.is_err(), "a file opened for reading is not written");
    });
}

fn a_new_and_empty_file_can_be_read_and_synced(world: &dyn World) {
    in_file(world, async |_, file, path| {
        assert_eq!((file.len().await.promised(), file.path()), (0, path));
        assert!(file.read_at(0, Buffer::with_capacity(4096)).await.promised().is_empty());
        file.sync().await.promised();
        file.write_at(0, b"x"[..].into()).await.promised();
        file.sync().await.promised();
        assert_eq!(&*read(&*file, 0, 8).await, b"x");
    });
}

fn large_transfers_arrive_whole(world: &dyn World) {
    in_file(world, async |_, file, _| {
        let bytes = pattern(9_000_001, 3);
        file.write_at(1, bytes[..].into()).await.promised();
        file.sync().await.promised();
        assert!(*read(&*file, 1, bytes.len()).await == *bytes);
    });
}

fn an_operation_whose_future_is_dropped_harms_nothing(world: &dyn World) {
    in_file(world, async |io, file, path| {
        let bytes = pattern(1 << 20, 4);
        file.write_at(0, bytes[..].into()).await.promised();
        file.sync().await.promised();
        let mut guarded = vec![];
        for round in 0..50u64 {
            let read = file.read_at(round * 1000, Buffer::with_capacity(64 * 1024));
            let batch = file.read_batch((0..8).map(|n| ReadRequest { offset: n * 4096, buffer: Buffer::with_capacity(4096) }).collect());
            let write = file.write_at(2 << 20, pattern(4096, round)[..].into());
            let open = io.disk().open(&path, OpenMode::Read);
            let sync = file.sync();
            // Polled once, so that each read has begun, and then dropped.
            assert!(within(&io, Duration::ZERO, read).await.is_none_or(|result| result.is_ok()));
            assert!(within(&io, Duration::ZERO, batch).await.is_none_or(|results| results.iter().all(Result::is_ok)));
            assert!(within(&io, Duration::ZERO, write).await.is_none_or(|result| result.is_ok()));
            assert!(within(&io, Duration::ZERO, open).await.is_none_or(|result| result.is_ok()));
            assert!(within(&io, Duration::ZERO, sync).await.is_none_or(|result| result.is_ok()));
            // Were an abandoned read's memory free, the allocator would give it to these.
            guarded.push((round, Buffer::from(&pattern(64 * 1024, 1000 + round)[..])));
            yield_now().await;
        }
        assert!(*read(&*file, 0, bytes.len()).await == *bytes);
        for (round, buffer) in guarded {
            assert!(*buffer == *pattern(64 * 1024, 1000 + round), "somebody else's memory was written to");
        }
    });
}
