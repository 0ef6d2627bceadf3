//! One connection: a request, its answer, the end.

use super::exposition::{CONTENT_TYPE, Exposition};
use super::request::{Asked, parse};
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;
use thalweg_io::within;
use thalweg_io::{Buffer, Io, IoError, NetRead, NetWrite};
use thalweg_kernel::JobMetrics;

/// The longest head of a request; that of a scrape has some hundred bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The time limit from the beginning of a connection until its request is complete.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// The time limit from the request until the answer is taken: Prometheus' own default.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How much a peer may still send after its answer before the connection is closed: unread bytes would make the system discard the answer (RFC 9112, 9.6).
const FAREWELL_BYTES_MAX: usize = 64 << 10;

/// The time limit for that.
const FAREWELL: Duration = Duration::from_secs(1);

/// The source of answers.
pub(super) struct Answers {
    pub(super) source: Box<dyn Fn() -> JobMetrics>,
    pub(super) exposition: Exposition,
}

/// Serves one connection. Any error ends it, without a report.
pub(super) async fn attend(io: Io, mut read: Box<dyn NetRead>, write: Box<dyn NetWrite>, answers: Rc<Answers>, has_asked: Rc<Cell<bool>>) {
    let asked = match within(&io, HEAD_DEADLINE, read_request(&mut *read)).await {
        Some(Ok(Some(asked))) => asked,
        // Too slow, broken, or closed without a request.
        _ => return,
    };
    has_asked.set(true);
    if let Some(Ok(())) = within(&io, ANSWER_DEADLINE, answer(write, asked, &answers)).await {
        within(&io, FAREWELL, read_to_end(&mut *read)).await;
    }
}

/// Reads a request; `None` if the peer closes without sending one.
async fn read_request(read: &mut dyn NetRead) -> Result<Option<Asked>, IoError> {
    let mut head = Buffer::default();
    loop {
        let known = head.len();
        head = read.read_more(head, HEAD_BYTES_MAX).await?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() == known {
            return Ok(Some(Asked::Garbage));
        }
        if let Some(asked) = parse(&head) {
            return Ok(Some(asked));
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Ok(Some(Asked::TooMuch));
        }
    }
}

/// Sends the answer, and ends the stream.
async fn answer(mut write: Box<dyn NetWrite>, asked: Asked, answers: &Answers) -> Result<(), IoError> {
    let text = "text/plain; charset=utf-8";
    let plain = |text: &str| Buffer::from(text.as_bytes());
    let (status, content_type, body) = match asked {
        Asked::Metrics => ("200 OK", CONTENT_TYPE, answers.exposition.render(&(answers.source)()).await),
        Asked::Health => ("200 OK", text, plain("ok\n")),
        Asked::Elsewhere => ("404 Not Found", text, plain("there are /metrics and /health\n")),
        Asked::NotToGet => ("405 Method Not Allowed", text, plain("GET is all there is\n")),
        Asked::TooMuch => ("431 Request Header Fields Too Large", text, plain("the request is too long\n")),
        Asked::Garbage => ("400 Bad Request", text, plain("this is not HTTP/1.1\n")),
    };
    let allow = if asked == Asked::NotToGet { "Allow: GET\r\n" } else { "" };
    let mut head = Buffer::default();
    let length = body.len();
    // Writing to a buffer does not fail.
    let _ = write!(
        head,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    write.write_all(head).await?;
    write.write_all(body).await?;
    Ok(())
}

/// Reads until the peer closes its side.
async fn read_to_end(read: &mut dyn NetRead) {
    let (mut buffer, mut total) = (Buffer::with_capacity(HEAD_BYTES_MAX), 0);
    while total < FAREWELL_BYTES_MAX {
        buffer = match read.read(buffer).await {
            Ok(buffer) if !buffer.is_empty() => buffer,
            _ => return,
        };
        total += buffer.len();
    }
}
