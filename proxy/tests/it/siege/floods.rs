//! HTTP/2 clients that make work without asking for anything.

use std::{net::TcpStream, time::Duration};

use clearway_testkit::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, beginning, field, fields, frame, read_until, setting,
};

use super::{Siege, ends, pour};

fn request(path: &str) -> Vec<u8> {
    fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

fn begun(siege: &Siege) -> TcpStream {
    let mut stream = siege.connect();
    assert_eq!(pour(&mut stream, &beginning(), 1), 1);
    stream
}

/// The reason of the GOAWAY that a connection ends with, if it says one.
fn farewell(stream: &mut TcpStream) -> Option<u32> {
    let goaway = read_until(stream, &mut Vec::new(), |frame| frame.kind == GOAWAY && frame.code() != Some(0));
    goaway.ok().flatten().and_then(|frame| frame.code())
}

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let siege = Siege::begin("", None);
    siege.bounded(32, || {
        let mut stream = begun(&siege);
        let mut written = 0;
        for id in (1..200_000).step_by(2) {
            let both =
                [frame(HEADERS, END_HEADERS | END_STREAM, id, &request("/open/a")), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])];
            written += pour(&mut stream, &both.concat(), 1);
            if written * 2 != (id + 1) as usize {
                break;
            }
        }
        assert!(written < 100_000, "the connection ended before all of it");
        let reason = farewell(&mut stream);
        assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{reason:?}");
    });
}

#[test]
fn a_head_that_goes_on_and_on_ends_the_connection() {
    let siege = Siege::begin("", None);
    for piece in [Vec::new(), vec![0], field(b"x", &[b'y'; 8_000])] {
        siege.bounded(32, || {
            let mut stream = begun(&siege);
            pour(&mut stream, &frame(HEADERS, END_STREAM, 1, &request("/open/a")), 1);
            let written = pour(&mut stream, &frame(CONTINUATION, 0, 1, &piece), 200_000);
            assert!(written < 200_000, "{}", piece.len());
            assert!(ends(&mut stream));
        });
    }
}

#[test]
fn small_change_without_requests_ends_the_connection() {
    let siege = Siege::begin("", None);
    let open = frame(
        HEADERS,
        END_HEADERS,
        1,
        &fields(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/open/slow")]),
    );
    for (what, piece) in [
        ("settings", frame(SETTINGS, 0, 0, &setting(3, 100))),
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 1])),
        ("unknown frames", frame(0x77, 0, 0, b"")),
        ("window updates", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("empty data", frame(DATA, 0, 1, b"")),
    ] {
        siege.bounded(32, || {
            let mut stream = begun(&siege);
            pour(&mut stream, &open, 1);
            let mut reader = stream.try_clone().unwrap();
            let reading = std::thread::spawn(move || farewell(&mut reader));
            let written = pour(&mut stream, &piece.repeat(100), 20_000);
            assert!(written < 20_000, "{what}");
            let reason = reading.join().unwrap();
            assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{what}: {reason:?}");
        });
    }
}

#[test]
fn what_is_not_read_is_not_kept_for_ever() {
    let siege = Siege::begin("write_timeout = \"2s\"\nidle_timeout = \"2s\"\nrequests = 200", None);
    let body = "x".repeat(1024 * 1024);
    siege.upstream.script(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()), false);
    // Windows that are shut; windows that are wide open, on a connection that is not read. By bytes, and by Pingora.
    let pingoras = [request("/open/scripted"), fields(&[("content-length", "0")])].concat();
    let by_bytes = request("/open/scripted");
    let wide = i32::MAX as u32;
    for (window, head) in [(0, &by_bytes), (wide, &by_bytes), (0, &pingoras), (wide, &pingoras)] {
        siege.bounded(256, || {
            let mut all: Vec<_> = (0..20).map(|_| begun(&siege)).collect();
            for stream in &mut all {
                pour(stream, &frame(SETTINGS, 0, 0, &setting(4, window)), 1);
                pour(stream, &frame(WINDOW_UPDATE, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes()), 1);
                stream.set_nonblocking(true).unwrap();
                for id in (1..200).step_by(2) {
                    pour(stream, &frame(HEADERS, END_HEADERS | END_STREAM, id, head), 1);
                }
            }
            siege.serves();
            siege.wait_for_connections(0.0);
        });
    }
}

#[test]
fn a_few_bytes_that_stand_for_many_headers_are_refused() {
    let siege = Siege::begin("", None);
    siege.bounded(32, || {
        let mut stream = begun(&siege);
        // Entered into the dynamic table once, and named ten thousand times: 40 MB.
        let entry = [&[0x40][..], &field(b"x", &[b'y'; 3_900])[1..]].concat();
        let bomb = [request("/open/a"), entry, vec![0xbe; 10_000]].concat();
        for id in (1..400).step_by(2) {
            if pour(&mut stream, &frame(HEADERS, END_HEADERS | END_STREAM, id, &bomb), 1) == 0 {
                break;
            }
        }
        let answer = read_until(&mut stream, &mut Vec::new(), |frame| frame.kind == HEADERS || frame.kind == GOAWAY);
        let status = answer.ok().flatten().and_then(|frame| frame.status());
        assert!(matches!(status, Some(431) | None), "{status:?}");
    });
    assert!(siege.upstream.received().iter().all(|request| request.target() == "/open/fine"));
}

#[test]
fn bodies_of_single_bytes_that_nobody_reads_are_bounded() {
    let siege = Siege::begin("", None);
    siege.bounded(96, || {
        let mut all: Vec<_> = (0..4).map(|_| begun(&siege)).collect();
        for stream in &mut all {
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            for id in (1..=31).step_by(2) {
                let post = fields(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/open/slow")]);
                pour(stream, &frame(HEADERS, END_HEADERS, id, &post), 1);
            }
            for id in (1..=31).step_by(2) {
                pour(stream, &frame(DATA, 0, id, b"x").repeat(1_000), 65);
            }
        }
        siege.serves();
    });
}
