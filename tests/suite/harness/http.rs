//! A small HTTP/1.1 client that sends exactly the bytes it is told to.
//!
//! Enters: a request target, method, headers, body. Leaves: status, headers and the unframed body. It knows
//! nothing of shapes. One connection per request, so that the end of the body is checked by the end of the stream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any long poll that the tests configure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request in the making.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request with any method.
    pub fn new(method: &str, target: impl Into<String>) -> Request {
        Request {
            method: method.to_owned(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(target: impl Into<String>) -> Request {
        Request::new("GET", target)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a body with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    /// Sends it and reads the answer; an error is a broken connection, nothing else.
    pub async fn send(&self, to: SocketAddr) -> io::Result<Response> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let bytes = [head.into_bytes(), self.body.clone()].concat();
        let answer = tokio::time::timeout(PATIENCE, exchange(to, &bytes)).await;
        let answer = answer
            .unwrap_or_else(|_| panic!("no answer in a minute: {} {}", self.method, self.target))?;
        Response::parse(&answer, self.method == "HEAD")
    }
}

async fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    // A server that refuses a long request early may close before it has read all of it.
    let sent = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Err(error) if answer.is_empty() => Err(error),
        _ if answer.is_empty() => Err(sent.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(answer),
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Status and headers.
    pub(super) fn parse_head(bytes: &[u8]) -> io::Result<Response> {
        let head = String::from_utf8_lossy(bytes).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Unframes an answer; a body that was cut short is an error, as for every client.
    fn parse(bytes: &[u8], bodiless: bool) -> io::Result<Response> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(cut)?;
        let mut response = Response::parse_head(&bytes[..end])?;
        let rest = &bytes[end + 4..];
        response.body = if bodiless || response.status == 204 || response.status == 304 {
            assert!(rest.is_empty(), "a body where none may be: {}", String::from_utf8_lossy(rest));
            Vec::new()
        } else if response.header("transfer-encoding") == Some("chunked") {
            unchunk(rest).ok_or_else(cut)?
        } else {
            let length = response
                .header("content-length")
                .map(|length| length.parse().expect("content-length"));
            let length: usize = length.unwrap_or(rest.len());
            rest.get(..length).ok_or_else(cut)?.to_vec()
        };
        Ok(response)
    }

    /// The value of a header, if it was sent; sent twice is a defect.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "header {name} was sent twice: {:?}", self.headers);
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.shown()))
    }

    /// Checks the status.
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{}", self.shown());
        self
    }

    /// Status, headers by name and body as one text; without what HTTP itself, request ids, the server's name and
    /// cross-origin access add to every answer.
    pub fn transcript(&self) -> String {
        let left_out = [
            "date",
            "connection",
            "content-length",
            "transfer-encoding",
            "vary",
            "x-request-id",
            "electric-server",
        ];
        let is_kept =
            |name: &str| !left_out.contains(&name) && !name.starts_with("access-control-");
        let mut lines: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        lines.sort();
        format!("{}\n{}\n{}", self.status, lines.concat(), String::from_utf8_lossy(&self.body))
    }

    /// The answer for a failure's message.
    pub fn shown(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(2_000).collect();
        format!("{} {:?}\n{body}", self.status, self.headers)
    }
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?.trim(), 16).ok()?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

/// Percent-encodes everything but the unreserved characters.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into())
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
