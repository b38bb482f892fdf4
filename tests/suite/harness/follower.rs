//! A client that follows one shape as the protocol says: initial request, catch-up, live.
//!
//! Enters: answers of a server. Leaves: the shape's rows, checked by the strict `Log`. Headers that published
//! clients need are required on every answer. By default anything but an answer is a failure; a test that kills
//! the server or resets the shape says so.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::database::Row;
use super::http::{Request, Response};
use super::log::{Log, Schema};
use super::shape::Shape;

/// A loaded machine and a build without optimisation take their time.
const PATIENCE: Duration = Duration::from_secs(180);

/// A following client; a clone goes its own way from the same place.
#[derive(Clone)]
pub struct Follower {
    pub shape: Shape,
    pub server: SocketAddr,
    pub handle: String,
    pub offset: String,
    pub log: Log,
    /// How often the server made us start again.
    pub refetches: usize,
    cursor: Option<String>,
    schema: Option<Schema>,
    survives_outages: bool,
    may_refetch: bool,
}

/// What one request came to.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Step {
    /// The end of the log is reached.
    UpToDate,
    /// There is more, ask again.
    More,
    /// The server made us start again.
    Refetch,
    /// No answer this time.
    Outage,
}

impl Follower {
    /// A client that has not asked anything yet.
    pub fn new(server: SocketAddr, shape: Shape) -> Follower {
        Follower {
            shape,
            server,
            handle: String::new(),
            offset: "-1".to_owned(),
            log: Log::default(),
            refetches: 0,
            cursor: None,
            schema: None,
            survives_outages: false,
            may_refetch: false,
        }
    }

    /// Refused connections, cut answers and 503 are retried.
    pub fn through_outages(mut self) -> Follower {
        self.survives_outages = true;
        self
    }

    /// A 409 starts the shape again instead of failing the test.
    pub fn through_refetches(mut self) -> Follower {
        self.may_refetch = true;
        self
    }

    /// The rows as of the last answer.
    pub fn rows(&self) -> Vec<Row> {
        self.log.rows()
    }

    /// The target of the next request.
    pub fn target(&self, live: bool) -> String {
        let mut target = format!("{}&offset={}", self.shape.target(), self.offset);
        if self.offset != "-1" {
            target.push_str(&format!("&handle={}", self.handle));
        }
        if live {
            target.push_str("&live=true");
            if let Some(cursor) = &self.cursor {
                target.push_str(&format!("&cursor={cursor}"));
            }
        }
        target
    }

    /// One request and its answer, applied.
    pub async fn step(&mut self, live: bool) -> Step {
        assert!(!live || self.offset != "-1", "live needs a position");
        match Request::get(self.target(live)).send(self.server).await {
            Ok(response) if response.status == 200 => self.apply(response, live),
            Ok(response) if response.status == 409 => self.start_again(response),
            Ok(response) if response.status == 503 && self.survives_outages => Step::Outage,
            Err(error) if self.survives_outages && is_outage(&error) => Step::Outage,
            Ok(response) => panic!("{}: {}", self.target(live), response.shown()),
            Err(error) => panic!("{}: {error}", self.target(live)),
        }
    }

    /// Reads to the end of the log.
    pub async fn catch_up(&mut self) -> &mut Follower {
        let deadline = Instant::now() + PATIENCE;
        while self.patient_step(false, deadline).await != Step::UpToDate {
            assert!(Instant::now() < deadline, "no end of {} in sight", self.shape.target());
        }
        self
    }

    /// Follows live until the rows satisfy a condition.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&[Row]) -> bool) -> &mut Follower {
        let deadline = Instant::now() + PATIENCE;
        while !(self.log.snapshot_read && condition(&self.rows())) {
            assert!(Instant::now() < deadline, "never: {what}; the rows are {:?}", self.rows());
            let live = self.log.snapshot_read && self.offset != "-1";
            self.patient_step(live, deadline).await;
        }
        self
    }

    /// Follows live until there are so many rows; cheap where there are very many.
    pub async fn until_count(&mut self, count: usize) -> &mut Follower {
        let deadline = Instant::now() + PATIENCE;
        while self.log.count() != count {
            assert!(Instant::now() < deadline, "never {count} rows, but {}", self.log.count());
            self.patient_step(true, deadline).await;
        }
        self
    }

    /// Catches up until the server says that everything up to a position has been delivered.
    pub async fn reach(&mut self, position: u64) -> &mut Follower {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let step = self.patient_step(false, deadline).await;
            if step == Step::UpToDate && self.log.seen >= position {
                return self;
            }
            let seen = self.log.seen;
            assert!(
                Instant::now() < deadline,
                "stuck at {seen}, before {position}: {}",
                self.shape.target()
            );
            if step == Step::UpToDate {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn patient_step(&mut self, live: bool, deadline: Instant) -> Step {
        loop {
            let step = self.step(live).await;
            if step != Step::Outage {
                return step;
            }
            assert!(Instant::now() < deadline, "the server did not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn apply(&mut self, response: Response, live: bool) -> Step {
        let up_to_date = response.header("electric-up-to-date").is_some();
        let (asked, offset) =
            (self.offset.clone(), required(&response, "electric-offset").to_owned());
        assert!(!(asked == "-1" && up_to_date), "an initial answer is never up to date");
        let handle = required(&response, "electric-handle");
        assert!(asked == "-1" || handle == self.handle, "the handle changed to {handle}");
        self.handle = handle.to_owned();
        assert_eq!(required(&response, "content-type"), "application/json; charset=utf-8");
        required(&response, "cache-control");
        required(&response, "etag");
        if live {
            let cursor = required(&response, "electric-cursor").to_owned();
            assert!(cursor.parse::<u64>().is_ok(), "the cursor {cursor} is no integer");
            assert_ne!(self.cursor.as_ref(), Some(&cursor), "the cursor did not change");
            self.cursor = Some(cursor);
            assert!(response.header("electric-schema").is_none(), "a live answer with a schema");
        } else {
            let schema = Schema::parse(required(&response, "electric-schema"));
            self.schema = Some(schema);
        }
        let schema = self.schema.as_ref().expect("an earlier answer had a schema");
        let last = self.log.replay(&response.json(), schema, up_to_date);
        check_offset(&asked, &offset, last.as_deref(), up_to_date);
        self.offset = offset;
        if up_to_date { Step::UpToDate } else { Step::More }
    }

    fn start_again(&mut self, response: Response) -> Step {
        // A server that died while it copied a snapshot has nothing that it could go on with.
        let unfinished = self.survives_outages && !self.log.snapshot_read;
        assert!(
            self.may_refetch || unfinished,
            "must refetch {}: {}",
            self.shape.target(),
            response.shown()
        );
        assert_eq!(response.json(), serde_json::json!([{"headers": {"control": "must-refetch"}}]));
        assert!(response.header("electric-offset").is_none(), "an offset on a 409");
        if let Some(handle) = response.header("electric-handle") {
            assert_ne!(handle, self.handle, "a 409 must not name the handle that it ends");
        }
        self.log = Log::default();
        self.offset = "-1".to_owned();
        self.cursor = None;
        self.refetches += 1;
        Step::Refetch
    }
}

/// The offset rises with every answer that brings something, and is that of the last change.
fn check_offset(asked: &str, offset: &str, last: Option<&str>, up_to_date: bool) {
    match last {
        Some(last) => assert_eq!(offset, last, "electric-offset is not the last change's"),
        None if up_to_date => {
            assert!(parse_offset(offset) >= parse_offset(asked), "{offset} after {asked}")
        }
        None => {
            assert!(parse_offset(offset) > parse_offset(asked), "{offset} does not follow {asked}")
        }
    }
}

/// An offset as something that compares.
pub fn parse_offset(offset: &str) -> (i128, u128) {
    if offset == "-1" {
        return (-1, 0);
    }
    let (lsn, op) = offset.split_once('_').unwrap_or_else(|| panic!("no offset: {offset}"));
    let op = if op == "inf" {
        u128::MAX
    } else {
        op.parse().unwrap_or_else(|_| panic!("no offset: {offset}"))
    };
    (lsn.parse().unwrap_or_else(|_| panic!("no offset: {offset}")), op)
}

fn required<'a>(response: &'a Response, name: &str) -> &'a str {
    response.header(name).unwrap_or_else(|| panic!("no {name}: {}", response.shown()))
}

fn is_outage(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof
    )
}
