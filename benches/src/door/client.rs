//! Connections that ask one question again and again: of bytes, and of gRPC over h2.

use prost::Message;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tollgate_proto::gate::{Action, CheckRequest, CheckResponse, Resource, Subject};

/// One connection.
pub(crate) trait Client {
    /// Asks `count` times in one write and reads all answers.
    fn ask(&mut self, count: usize);
}

/// A door whose answers to the same bytes have the same length.
pub(crate) struct Bytes {
    stream: UnixStream,
    request: Vec<u8>,
    batch: Vec<u8>,
    replies: Vec<u8>,
    reply_bytes: usize,
}

impl Bytes {
    pub(crate) fn connect(socket: &Path, request: &[u8], reply_bytes: usize) -> Bytes {
        let stream = UnixStream::connect(socket).expect("the socket");
        let (batch, replies) = (Vec::new(), Vec::new());
        Bytes { stream, request: request.to_vec(), batch, replies, reply_bytes }
    }
}

impl Client for Bytes {
    fn ask(&mut self, count: usize) {
        if self.batch.len() != count * self.request.len() {
            self.batch = self.request.repeat(count);
            self.replies = vec![0; self.reply_bytes * count];
        }
        self.stream.write_all(&self.batch).expect("requests");
        self.stream.read_exact(&mut self.replies).expect("replies");
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// As little of an h2 client as asks `Check`: what is measured is the door.
pub(crate) struct Grpc {
    stream: UnixStream,
    message: Vec<u8>,
    next_stream: u32,
    batch: Vec<u8>,
    received: Vec<u8>,
}

impl Grpc {
    pub(crate) fn connect(socket: &Path) -> Grpc {
        let entity = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
        let (subject, resource) = (entity("user", "alice"), entity("path", "/v1/models/small"));
        let request = CheckRequest {
            subject: Some(Subject { r#type: subject.0, id: subject.1, properties: None }),
            action: Some(Action { name: "create".to_owned(), properties: None }),
            resource: Some(Resource { r#type: resource.0, id: resource.1, properties: None }),
            context: None,
        };
        let body = request.encode_to_vec();
        // A gRPC message: a byte that says "not compressed", its length, its bytes.
        let length = u32::try_from(body.len()).expect("a small message").to_be_bytes();
        let message = [&[0][..], &length, &body].concat();
        let mut stream = UnixStream::connect(socket).expect("the socket");
        let mut hello = PREFACE.to_vec();
        put(&mut hello, SETTINGS, 0, 0, &[]);
        let window = (i32::MAX - 65_535).to_be_bytes();
        put(&mut hello, WINDOW_UPDATE, 0, 0, &window);
        stream.write_all(&hello).expect("a preface");
        let mut grpc =
            Grpc { stream, message, next_stream: 1, batch: Vec::new(), received: Vec::new() };
        let reply = grpc.exchange(1).expect("an answer");
        let reply = CheckResponse::decode(&reply[5..]).expect("a message");
        assert!(reply.decision, "the demo policy allows alice: {reply:?}");
        grpc
    }

    /// Asks and answers the body of the last answer.
    fn exchange(&mut self, count: usize) -> Option<Vec<u8>> {
        self.batch.clear();
        for _ in 0..count {
            let fields = fields(self.next_stream == 1);
            put(&mut self.batch, HEADERS, END_HEADERS, self.next_stream, &fields);
            put(&mut self.batch, DATA, END_STREAM, self.next_stream, &self.message);
            self.next_stream += 2;
        }
        self.stream.write_all(&self.batch).expect("requests");
        let (mut ended, mut body) = (0, None);
        while ended < count {
            let mut buffer = [0; 16 * 1024];
            let got = self.stream.read(&mut buffer).expect("answers");
            assert!(got > 0, "the door closed");
            self.received.extend_from_slice(&buffer[..got]);
            let mut at = 0;
            while let Some((kind, flags, payload)) = frame(&self.received[at..]) {
                at += FRAME_HEADER_BYTES + payload.len();
                match (kind, flags & ACK) {
                    (SETTINGS, 0) => put_and_send(&mut self.stream, SETTINGS, &[]),
                    (PING, 0) => put_and_send(&mut self.stream, PING, payload),
                    (DATA, _) => body = Some(payload.to_vec()),
                    (HEADERS, END_STREAM) => ended += 1,
                    _ => {}
                }
            }
            self.received.drain(..at);
        }
        body
    }
}

impl Client for Grpc {
    fn ask(&mut self, count: usize) {
        self.exchange(count);
    }
}

/// A request's header block (RFC 7541): names and values once, then by their index.
fn fields(is_first: bool) -> Vec<u8> {
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    let named = [
        (":path", "/tollgate.v1.Gate/Check"),
        (":authority", "sidecar"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-tenant-id", "demo"),
    ];
    let mut block = vec![POST, HTTP];
    for (at, (name, value)) in named.iter().enumerate() {
        if !is_first {
            // The dynamic table begins at 62 with what came last.
            let index = u8::try_from(62 + named.len() - 1 - at).expect("a small index");
            block.push(0x80 | index);
            continue;
        }
        block.push(0x40);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn put_and_send(stream: &mut UnixStream, kind: u8, payload: &[u8]) {
    let mut bytes = Vec::new();
    put(&mut bytes, kind, ACK, 0, payload);
    stream.write_all(&bytes).expect("an acknowledgement");
}

/// Kind, flags and payload of the first whole frame.
fn frame(bytes: &[u8]) -> Option<(u8, u8, &[u8])> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length)?;
    Some((header[3], header[4], payload))
}
