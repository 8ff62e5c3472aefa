//! A tiny HTTP server for the tests of downloads: it knows ranges, and how to misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Serves one file until the test process ends.
pub(super) struct Server {
    url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    reply: Reply,
    /// The first byte of the range of each request; none for the whole file.
    asked: Vec<Option<u64>>,
}

/// What is answered to every request.
#[derive(Clone)]
pub(super) struct Reply {
    status: &'static str,
    body: Vec<u8>,
    /// Its strong tag; empty: no tag, and ranges are ignored.
    tag: String,
    /// Bytes of the body after which the connection ends.
    break_after: Option<usize>,
    /// Whether it then stays open instead, saying nothing.
    is_stalling: bool,
}

impl Reply {
    /// The whole file, whatever range is asked for.
    pub(super) fn file(body: &[u8]) -> Self {
        let tag = String::new();
        let body = body.to_vec();
        Self { status: "200 OK", body, tag, break_after: None, is_stalling: false }
    }

    pub(super) fn status(status: &'static str) -> Self {
        Self { status, ..Self::file(b"an error page") }
    }
}

impl Server {
    /// Serves a file as a good server does.
    pub(super) fn of_file(body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let reply = Reply { tag: "\"one\"".to_owned(), ..Reply::file(&body) };
        let state = Arc::new(Mutex::new(State { reply, asked: Vec::new() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(&stream, &shared));
            }
        });
        Self { url: format!("http://{address}/tiny.zip"), state }
    }

    /// An address where nobody answers.
    pub(super) fn nobody() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/tiny.zip", listener.local_addr().expect("an address"));
        let state = State { reply: Reply::file(b""), asked: Vec::new() };
        Self { url, state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn breaking_after(self, bytes: usize) -> Self {
        self.state.lock().expect("no panic").reply.break_after = Some(bytes);
        self
    }

    pub(super) fn stalling_after(self, bytes: usize) -> Self {
        self.state.lock().expect("no panic").reply.is_stalling = true;
        self.breaking_after(bytes)
    }

    pub(super) fn serve(&self, reply: Reply) {
        self.state.lock().expect("no panic").reply = reply;
    }

    /// Serves another file from now on; it never looks at `If-Range`.
    pub(super) fn serve_file(&self, body: Vec<u8>, tag: &str) {
        self.serve(Reply { tag: tag.to_owned(), ..Reply::file(&body) });
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn asked(&self) -> Vec<Option<u64>> {
        self.state.lock().expect("no panic").asked.clone()
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = head.iter().find_map(|line| {
        let line = line.to_ascii_lowercase();
        line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<u64>().ok()
    });
    let reply = {
        let mut state = state.lock().expect("no panic");
        state.asked.push(range);
        state.reply.clone()
    };
    let (head, body) = match range.filter(|_| !reply.tag.is_empty()) {
        Some(start) if start >= reply.body.len() as u64 => {
            ("HTTP/1.1 416 Range Not Satisfiable\r\n".to_owned(), &b""[..])
        }
        Some(start) => {
            let length = reply.body.len();
            let range = format!("content-range: bytes {start}-{}/{length}\r\n", length - 1);
            (format!("HTTP/1.1 206 Partial Content\r\n{range}"), &reply.body[start as usize..])
        }
        None => (format!("HTTP/1.1 {}\r\n", reply.status), &reply.body[..]),
    };
    let tag = if reply.tag.is_empty() { String::new() } else { format!("etag: {}\r\n", reply.tag) };
    let length = body.len();
    let head = format!("{head}{tag}content-length: {length}\r\nconnection: close\r\n\r\n");
    let sent = &body[..reply.break_after.unwrap_or(length).min(length)];
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
    if reply.is_stalling {
        std::thread::sleep(Duration::from_secs(10));
    }
}
