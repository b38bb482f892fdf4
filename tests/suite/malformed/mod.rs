//! Tens of thousands of requests that nobody should send, at random: each is refused or answered, none hurts.
//!
//! `BROOKLET_TEST_MALFORMED` says how many. Whatever is framed well is sent over connections that stay open, so
//! that one bad request can spoil the next; the rest goes over connections of its own.

mod requests;

use std::net::SocketAddr;
use std::time::Duration;

use requests::mutate;

use crate::harness::{Connection, Database, Response, Rng, Shape, World, size};

const CLIENTS: usize = 8;
/// No answer may take longer; long polls are set to one second.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_are_refused_or_answered_and_hurt_nobody() {
    let mut rng = Rng::for_test("random_requests");
    let world =
        World::with(Database::shared().await, |options| options.long_poll = Duration::from_secs(1))
            .await;
    world.sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE SCHEMA wms").await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text, mood mood)").await;
    world.sql("CREATE TABLE wms.slots (a text, b int, PRIMARY KEY (a, b))").await;
    world.sql("INSERT INTO items SELECT g, 'x' || g, 'sad' FROM generate_series(1, 50) g").await;
    let items = world.follow(Shape::of("items")).await;
    let process = world.server.id();
    let count = size("BROOKLET_TEST_MALFORMED", 20_000);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = Client {
            server: world.server.address,
            handle: items.handle.clone(),
            rng: rng.fork(),
            connection: None,
        };
        clients.push(tokio::spawn(client.run(count / CLIENTS)));
    }
    let mut statuses = std::collections::BTreeMap::new();
    for client in clients {
        for status in client.await.expect("a client failed, see above") {
            *statuses.entry(status).or_insert(0usize) += 1;
        }
    }
    println!("answers by status (0: closed without): {statuses:?}");
    assert!(
        statuses.len() > 5 && statuses[&200] > count / 100 && statuses[&400] > count / 10,
        "{statuses:?}"
    );
    world.get("/v1/health").await.expect(200);
    assert_eq!(world.server.id(), process);
    let logs = world.server.logs();
    assert!(!logs.contains("panicked at"), "a request made the server panic");
    // Everybody else is served as ever.
    let mut items = items;
    world.sql("INSERT INTO items VALUES (1000, 'last', 'ok')").await;
    items.until("the new row", |rows| rows.len() == 51).await;
}

struct Client {
    server: SocketAddr,
    handle: String,
    rng: Rng,
    connection: Option<Connection>,
}

impl Client {
    async fn run(mut self, count: usize) -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            let status = match self.rng.below(10) {
                0..4 => self.framed("GET").await,
                4..7 => self.framed("POST").await,
                7 => {
                    let methods = [
                        "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "TRACE", "get", "X-Y",
                        "PROPFIND",
                    ];
                    let method = *self.rng.pick(&methods);
                    self.framed(method).await
                }
                8 => self.mutated().await,
                _ => self.noise().await,
            };
            statuses.push(status);
        }
        statuses
    }

    /// A request that is framed well, over the open connection.
    async fn framed(&mut self, method: &str) -> u16 {
        let (target, is_text) = self.target();
        let body = if method == "POST" { self.body() } else { Vec::new() };
        let headers = self.headers();
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}").into_bytes();
        if method == "POST" || !body.is_empty() {
            request.extend(format!("content-length: {}\r\n", body.len()).bytes());
        }
        request.extend(b"\r\n");
        request.extend(&body);
        let shown = String::from_utf8_lossy(&request).into_owned();
        let reached =
            is_text && ["GET", "POST"].contains(&method) && target.starts_with("/v1/shape?");
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer in {PATIENCE:?}: {shown}"));
        let Some(answer) = answer else { return 0 };
        check(&answer, &shown, reached);
        answer.status
    }

    /// A connection that was closed in the meantime is opened anew; a fresh one has to answer.
    async fn exchange(&mut self, method: &str, request: &[u8]) -> Option<Response> {
        if let Some(mut connection) = self.connection.take()
            && connection.write(request).await.is_ok()
            && let Ok(answer) = read(&mut connection, method).await
        {
            self.keep(connection, &answer);
            return Some(answer);
        }
        let mut connection = Connection::open(self.server).await.expect("connect");
        // A refusal may come before everything is sent.
        let _ = connection.write(request).await;
        let answer = read(&mut connection, method).await.ok()?;
        self.keep(connection, &answer);
        Some(answer)
    }

    fn keep(&mut self, connection: Connection, answer: &Response) {
        let ends = answer.header("connection") == Some("close")
            || answer.header("content-type") == Some("text/event-stream");
        self.connection = if ends { None } else { Some(connection) };
    }

    /// A request that would make sense, with some bytes wrong.
    async fn mutated(&mut self) -> u16 {
        let (target, _) = self.target();
        let target = target.replace("sse", "xxx");
        let body = self.object(2);
        let framing = *self.rng.pick(&[
            "content-length",
            "Content-Length",
            "transfer-encoding: chunked\r\ncontent-length",
        ]);
        let mut bytes =
            format!("POST {target} HTTP/1.1\r\nhost: x\r\n{framing}: {}\r\n\r\n{body}", body.len())
                .into_bytes();
        for _ in 0..self.rng.between(1, 6) {
            mutate(&mut bytes, &mut self.rng);
        }
        self.raw(&bytes).await
    }

    /// Bytes that are nothing at all.
    async fn noise(&mut self) -> u16 {
        let mut bytes: Vec<u8> =
            (0..self.rng.below(400)).map(|_| self.rng.below(256) as u8).collect();
        if self.rng.percent(50) {
            let start = *self.rng.pick(&[
                "GET /v1/shape",
                "POST / HTTP/1.1\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "GET  ",
                "\r\n",
            ]);
            bytes.splice(0..0, start.bytes());
        }
        self.raw(&bytes).await
    }

    /// Sends bytes, says that there are no more, and reads what comes.
    async fn raw(&mut self, bytes: &[u8]) -> u16 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let mut stream = tokio::net::TcpStream::connect(self.server).await.expect("connect");
        let mut answer = Vec::new();
        let exchange = async {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut answer).await;
        };
        let done = tokio::time::timeout(PATIENCE, exchange).await;
        assert!(
            done.is_ok(),
            "no end in {PATIENCE:?}: {shown:?}\n{}",
            String::from_utf8_lossy(&answer)
        );
        let status = answer.strip_prefix(b"HTTP/1.1 ").or(answer.strip_prefix(b"HTTP/1.0 "));
        let status = status.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
        let status = status.unwrap_or(0);
        assert!(status < 500 || status == 503, "{shown:?}\n{}", String::from_utf8_lossy(&answer));
        status
    }
}

/// Reads one answer; of a stream of events only the head.
async fn read(connection: &mut Connection, method: &str) -> std::io::Result<Response> {
    let head = connection.head().await?;
    if head.status == 100 {
        return Box::pin(read(connection, method)).await;
    }
    if head.header("content-type") == Some("text/event-stream") {
        return Ok(head);
    }
    connection.body(head, method).await
}

fn check(answer: &Response, request: &str, reached: bool) {
    let shown =
        || format!("{}\n\n{}", request.chars().take(3000).collect::<String>(), answer.shown());
    let is_overload = answer.status == 503 && answer.header("retry-after").is_some();
    assert!((200..500).contains(&answer.status) || is_overload, "{}", shown());
    let is_fine = matches!(
        answer.status,
        200 | 204 | 304 | 400 | 404 | 405 | 409 | 413 | 414 | 417 | 431 | 503
    );
    assert!(is_fine, "{}", shown());
    if answer.header("content-encoding").is_some() {
        return;
    }
    let is_head_refused =
        matches!(answer.status, 414 | 431) || answer.header("electric-server").is_none();
    let is_events = answer.header("content-type") == Some("text/event-stream");
    if reached && !is_head_refused && !is_events && answer.status != 304 {
        assert!(
            serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(),
            "no JSON: {}",
            shown()
        );
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/json; charset=utf-8"), "{}", shown());
    }
}
