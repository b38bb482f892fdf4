//! A connection that stays open: answers are read as they arrive, requests follow one another.
//!
//! Enters: bytes. Leaves: heads, pieces of bodies and events, each checked for its framing. An error is a broken or
//! closed connection, as for every client.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::Response;

/// One open connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(to: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::new() })
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request without a body and asks to keep the connection.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &str) -> io::Result<()> {
        let head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        self.write(head.as_bytes()).await
    }

    /// The next answer's status and headers.
    pub async fn head(&mut self) -> io::Result<Response> {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = Response::parse_head(&self.buffer[..end]);
                self.buffer.drain(..end + 4);
                return head;
            }
            self.more().await?;
        }
    }

    /// The next piece of a chunked body; `None` at its proper end.
    pub async fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = loop {
            match self.buffer.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break self.take(end + 2).await?,
                None => self.more().await?,
            }
        };
        let size = std::str::from_utf8(&line).ok().map(str::trim);
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let mut piece = self.take(size.ok_or(io::ErrorKind::InvalidData)? + 2).await?;
        assert!(piece.ends_with(b"\r\n"), "a chunk without its end");
        piece.truncate(piece.len() - 2);
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// The next whole answer.
    pub async fn answer(&mut self, method: &str) -> io::Result<Response> {
        let head = self.head().await?;
        self.body(head, method).await
    }

    /// The body that belongs to a head.
    pub async fn body(&mut self, head: Response, method: &str) -> io::Result<Response> {
        let mut response = head;
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.piece().await? {
                response.body.extend(piece);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            response.body = self.take(length).await?;
        } else {
            while self.more().await.is_ok() {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(response)
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// What a stream of server-sent events brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message, its JSON as it was sent.
    Message(String),
    /// A comment.
    Comment(String),
}

impl Event {
    /// The message.
    pub fn json(&self) -> Value {
        let Event::Message(text) = self else { panic!("{self:?} is no message") };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    /// Whether this says that the end is reached, and up to where.
    pub fn up_to_date(&self) -> Option<String> {
        let Event::Message(_) = self else { return None };
        let headers = &self.json()["headers"];
        let is_end = headers["control"] == "up-to-date";
        is_end.then(|| headers["global_last_seen_lsn"].as_str().expect("a position").to_owned())
    }
}

/// A stream of server-sent events.
pub struct Events {
    /// Status and headers of the answer.
    pub head: Response,
    connection: Connection,
    text: Vec<u8>,
}

impl Events {
    /// Asks for a stream.
    pub async fn open(to: SocketAddr, target: &str) -> Events {
        let mut connection = Connection::open(to).await.expect("connect");
        connection.ask("GET", target, "accept-encoding: gzip, br, zstd\r\n").await.expect("send");
        let head = connection.head().await.expect("an answer");
        assert_eq!(head.status, 200, "{target}: {}", head.shown());
        assert_eq!(head.header("content-type"), Some("text/event-stream"), "{}", head.shown());
        Events { head, connection, text: Vec::new() }
    }

    /// The next event; `None` at the clean end of the stream, an error where it was cut.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(end) = self.text.windows(2).position(|window| window == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                return Ok(Some(parse(std::str::from_utf8(&event[..end]).expect("UTF-8"))));
            }
            match self.connection.piece().await? {
                Some(piece) => self.text.extend(piece),
                None => {
                    assert!(self.text.is_empty(), "the stream ended inside of an event");
                    return Ok(None);
                }
            }
        }
    }

    /// The next message; comments are passed over.
    pub async fn message(&mut self) -> Event {
        loop {
            match self.next().await.expect("a stream that is not cut") {
                Some(Event::Comment(_)) => {}
                Some(message) => return message,
                None => panic!("the stream ended before the next message"),
            }
        }
    }

    /// The messages up to and with the next up-to-date.
    pub async fn batch(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        while batch.last().and_then(Event::up_to_date).is_none() {
            batch.push(self.message().await);
        }
        batch
    }
}

/// One event is one line: published clients read nothing else.
fn parse(event: &str) -> Event {
    assert!(!event.contains(['\n', '\r']), "an event of more than one line: {event:?}");
    if let Some(comment) = event.strip_prefix(':') {
        return Event::Comment(comment.trim().to_owned());
    }
    let data = event.strip_prefix("data: ");
    let data = data.unwrap_or_else(|| panic!("neither data nor a comment: {event:?}"));
    serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Event::Message(data.to_owned())
}
