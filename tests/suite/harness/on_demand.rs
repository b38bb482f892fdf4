//! A client that loads parts of a shape when it needs them: changes only, plus subsets.
//!
//! It does as the published TypeScript client does: a change is dropped if, and only if, its row came with a subset
//! whose snapshot sees the change's transaction; a subset is forgotten once a transaction at or above its `xmax`
//! arrives or an up-to-date reaches its `database_lsn`. What the server promises along the way is checked: a
//! forgotten subset's changes never arrive after all, and `database_lsn` is not below any commit the snapshot sees.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::database::Row;
use super::http::{Request, Response};
use super::{Shape, encode};

const PATIENCE: Duration = Duration::from_secs(60);

/// Rows loaded on demand and kept up to date.
pub struct OnDemand {
    pub shape: Shape,
    pub rows: BTreeMap<String, Row>,
    pub handle: String,
    pub offset: String,
    pub seen: u64,
    /// How many changes were dropped because a subset had them.
    pub dropped: usize,
    server: SocketAddr,
    cursor: String,
    active: Vec<Part>,
    forgotten: Vec<Part>,
    /// Transaction and position of every change.
    commits: BTreeSet<(u64, u64)>,
}

/// A subset that was loaded.
struct Part {
    xmin: u64,
    xmax: u64,
    in_progress: Vec<u64>,
    database_lsn: u64,
    keys: BTreeSet<String>,
}

impl Part {
    fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || xid < self.xmax && !self.in_progress.contains(&xid)
    }

    fn has(&self, key: &str, xid: u64) -> bool {
        self.keys.contains(key) && self.sees(xid)
    }
}

impl OnDemand {
    /// Begins at the shape's present end, with no rows.
    pub async fn start(server: SocketAddr, shape: Shape) -> OnDemand {
        let shape = shape.more("&log=changes_only");
        let first = Request::get(format!("{}&offset=now", shape.target()));
        let first = first.send(server).await.expect("an answer").expect(200);
        let mut client = OnDemand {
            shape,
            rows: BTreeMap::new(),
            handle: header(&first, "electric-handle"),
            offset: header(&first, "electric-offset"),
            seen: 0,
            dropped: 0,
            server,
            cursor: "0".to_owned(),
            active: Vec::new(),
            forgotten: Vec::new(),
            commits: BTreeSet::new(),
        };
        client.apply(&first.json());
        client
    }

    fn target(&self) -> String {
        format!("{}&offset={}&handle={}", self.shape.target(), self.offset, self.handle)
    }

    /// One log request; whether the end is reached.
    pub async fn step(&mut self, live: bool) -> bool {
        let mut target = self.target();
        if live {
            target.push_str(&format!("&live=true&cursor={}", self.cursor));
        }
        let response = Request::get(target).send(self.server).await.expect("an answer").expect(200);
        assert_eq!(header(&response, "electric-handle"), self.handle);
        if live {
            self.cursor = header(&response, "electric-cursor");
        }
        self.apply(&response.json());
        self.offset = header(&response, "electric-offset");
        response.header("electric-up-to-date").is_some()
    }

    /// Reads until everything up to a position has been delivered.
    pub async fn reach(&mut self, position: u64) {
        let deadline = Instant::now() + PATIENCE;
        while !self.step(false).await || self.seen < position {
            assert!(Instant::now() < deadline, "stuck at {} before {position}", self.seen);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Loads a subset, by POST or by GET; 503 is asked again, as the published client does.
    pub async fn load(&mut self, subset: &Value, post: bool) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let request = self.subset_request(subset, post);
        let response = loop {
            let response = request.send(self.server).await.expect("an answer");
            if response.status != 503 {
                break response.expect(200);
            }
            assert!(response.header("retry-after").is_some(), "{}", response.shown());
            assert!(Instant::now() < deadline, "never: {}", response.shown());
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(header(&response, "electric-handle"), self.handle);
        // The published client takes this for its position.
        assert_eq!(header(&response, "electric-offset"), self.offset, "{subset}");
        self.take(&response.json())
    }

    /// A subset request as it would be sent now.
    pub fn subset_request(&self, subset: &Value, post: bool) -> Request {
        if post {
            return Request::new("POST", self.target()).body(subset.to_string());
        }
        let fields = subset.as_object().expect("an object").iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("&subset__{name}={}", encode(&text))
        });
        Request::get(self.target() + &fields.collect::<String>())
    }

    /// Takes a subset's rows in; returns how many.
    pub fn take(&mut self, body: &Value) -> usize {
        let (metadata, mark) = (&body["metadata"], &body["metadata"]["snapshot_mark"]);
        assert!(mark.is_u64(), "{metadata}");
        let in_progress = metadata["xip_list"].as_array().expect("a list").iter().map(number);
        let mut part = Part {
            xmin: number(&metadata["xmin"]),
            xmax: number(&metadata["xmax"]),
            in_progress: in_progress.collect(),
            database_lsn: number(&metadata["database_lsn"]),
            keys: BTreeSet::new(),
        };
        for message in body["data"].as_array().expect("rows") {
            assert_eq!(message["headers"]["operation"], "insert", "{message}");
            assert_eq!(&message["headers"]["snapshot_mark"], mark, "{message}");
            let key = message["key"].as_str().expect("a key").to_owned();
            assert!(part.keys.insert(key.clone()), "twice in one subset: {message}");
            self.rows.insert(key, row(&message["value"]));
        }
        let loaded = part.keys.len();
        self.active.push(part);
        loaded
    }

    fn apply(&mut self, body: &Value) {
        for message in body.as_array().expect("an array") {
            match message["headers"]["control"].as_str() {
                None => self.change(message),
                Some("up-to-date") => {
                    self.up_to_date(number(&message["headers"]["global_last_seen_lsn"]))
                }
                Some("snapshot-end") => {}
                Some(_) => panic!("unknown: {message}"),
            }
        }
    }

    fn up_to_date(&mut self, seen: u64) {
        assert!(seen >= self.seen, "{} was reported before {seen}", self.seen);
        self.seen = seen;
        let (done, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|part| part.database_lsn <= seen);
        self.active = active;
        self.forgotten.extend::<Vec<Part>>(done);
    }

    fn change(&mut self, message: &Value) {
        let (headers, key) = (&message["headers"], message["key"].as_str().expect("a key"));
        let xid =
            headers["txids"].as_array().expect("txids").iter().filter_map(Value::as_u64).max();
        let (xid, lsn) = (xid.expect("an id"), number(&headers["lsn"]));
        self.commits.insert((xid, lsn));
        let late = self.forgotten.iter().find(|part| part.has(key, xid));
        assert!(
            late.is_none(),
            "a subset was forgotten at {:?} though this was still to come: {message}",
            late.map(|part| part.database_lsn)
        );
        let is_known = self.active.iter().any(|part| part.has(key, xid));
        self.active.retain(|part| xid < part.xmax);
        if is_known {
            self.dropped += 1;
            return;
        }
        let value = row(&message["value"]);
        match headers["operation"].as_str().expect("an operation") {
            "insert" => _ = self.rows.insert(key.to_owned(), value),
            "delete" => _ = self.rows.remove(key),
            // With full replicas a row that is not known yet is whole in its update.
            "update" if message["old_value"].is_object() => {
                _ = self.rows.insert(key.to_owned(), value)
            }
            "update" => {
                if let Some(row) = self.rows.get_mut(key) {
                    row.extend(value);
                }
            }
            other => panic!("{other}: {message}"),
        }
    }

    /// No commit that a subset's snapshot sees lies above the position it came with.
    pub fn check_positions(&self) {
        for part in self.active.iter().chain(&self.forgotten) {
            for (xid, lsn) in &self.commits {
                let (xmax, known) = (part.xmax, part.database_lsn);
                assert!(
                    !part.sees(*xid) || *lsn <= known,
                    "{xid} at {lsn} is visible below {xmax}, but database_lsn is {known}"
                );
            }
        }
    }

    /// The rows that satisfy a condition.
    pub fn rows_with(&self, condition: impl Fn(&Row) -> bool) -> Vec<Row> {
        let mut rows: Vec<Row> = self.rows.values().filter(|row| condition(row)).cloned().collect();
        rows.sort();
        rows
    }
}

fn header(response: &Response, name: &str) -> String {
    let value = response.header(name);
    value.unwrap_or_else(|| panic!("no {name}: {}", response.shown())).to_owned()
}

fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no decimal: {value}"))
}

fn row(value: &Value) -> Row {
    let columns = value.as_object().unwrap_or_else(|| panic!("no row: {value}"));
    columns.iter().map(|(name, text)| (name.clone(), text.as_str().map(str::to_owned))).collect()
}

/// A subset of the rows that satisfy a filter.
pub fn subset(filter: &str, parameters: &[&str]) -> Value {
    let numbered = parameters.iter().enumerate();
    let parameters: serde_json::Map<String, Value> =
        numbered.map(|(at, value)| ((at + 1).to_string(), json!(value))).collect();
    json!({"where": filter, "params": parameters})
}
