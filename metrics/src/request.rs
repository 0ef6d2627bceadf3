//! The request line decides what is asked for; the other lines only have to be well-formed.

use httparse::{EMPTY_HEADER, Error, Request, Status};

/// The most headers of a request; Prometheus sends six.
const HEADERS_MAX: usize = 32;

/// The subject of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Metrics,
    Health,
    /// A path that does not exist.
    Elsewhere,
    /// A method other than GET.
    NotToGet,
    /// Too many or too long lines.
    TooMuch,
    /// Not HTTP/1.
    Garbage,
}

/// Parses the head of a request. `None` if it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Option<Asked> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Partial) => None,
        Ok(Status::Complete(_)) => Some(match (request.method, request.path) {
            (Some("GET"), Some(target)) => path(target),
            (Some(_), Some(_)) => Asked::NotToGet,
            _ => Asked::Garbage,
        }),
        Err(Error::TooManyHeaders) => Some(Asked::TooMuch),
        Err(_) => Some(Asked::Garbage),
    }
}

/// The subject of a path. Parameters are ignored.
fn path(target: &str) -> Asked {
    match target.split_once('?').map_or(target, |(path, _)| path) {
        "/metrics" => Asked::Metrics,
        "/health" => Asked::Health,
        _ => Asked::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_decides() {
        for (head, asked) in [
            ("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", Some(Asked::Metrics)),
            ("GET /metrics?collect=all HTTP/1.0\r\n\r\n", Some(Asked::Metrics)),
            ("GET /health HTTP/1.1\n\n", Some(Asked::Health)),
            ("GET / HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Some(Asked::NotToGet)),
            ("get /metrics HTTP/1.1\r\n\r\n", Some(Asked::NotToGet)),
            ("GET /metrics HTTP/2.0\r\n\r\n", Some(Asked::Garbage)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Asked::Garbage)),
            ("GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", Some(Asked::Garbage)),
            ("\u{16}\u{3}\u{1}", Some(Asked::Garbage)),
            ("", None),
            ("GET /met", None),
            ("GET /metrics HTTP/1.1\r\nHost: here\r\n", None),
        ] {
            assert_eq!(parse(head.as_bytes()), asked, "{head:?}");
        }
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parse(many.as_bytes()), Some(Asked::TooMuch));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }

        /// A truncated head is either incomplete or refused, never taken for another request.
        #[test]
        fn no_part_of_a_request_is_one(cut in 0..61usize) {
            let head = b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: text/plain;q=0.5\r\n\r\n";
            prop_assert_eq!(parse(&head[..cut]), None);
        }
    }
}
