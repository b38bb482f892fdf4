//! A client of one shape that keeps every entry, so that it can say what the rows were to any snapshot.

use brooklet_sql::Lsn;
use serde_json::Value;

use super::{Rows, VerifyArgs, key};
use crate::shapes::Defined;
use crate::shapes::visibility::Visibility;

/// Rows that a shape began with, and what came after.
pub struct Client<'a> {
    http: &'a reqwest::Client,
    args: &'a VerifyArgs,
    defined: &'a Defined,
    /// What says which shape is meant.
    parameters: &'a [(&'static str, String)],
    offset: String,
    handle: Option<String>,
    base: Rows,
    entries: Vec<Value>,
    seen: Lsn,
}

impl<'a> Client<'a> {
    /// One that has not asked yet.
    pub fn new(
        http: &'a reqwest::Client,
        args: &'a VerifyArgs,
        defined: &'a Defined,
        parameters: &'a [(&'static str, String)],
    ) -> Client<'a> {
        Client {
            http,
            args,
            defined,
            parameters,
            offset: "-1".into(),
            handle: None,
            base: Rows::new(),
            entries: Vec::new(),
            seen: Lsn::ZERO,
        }
    }

    /// Up to where it has read.
    pub fn seen(&self) -> Lsn {
        self.seen
    }

    /// How many entries it has read.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Reads until the server says that this is all; `false` if it says that the log has ended, after which this
    /// client is of no more use.
    pub async fn catch_up(&mut self) -> anyhow::Result<bool> {
        loop {
            let response = self.http.get(self.url()?).send().await;
            // Errors name the URL, and that the secret.
            let response = response.map_err(reqwest::Error::without_url)?;
            let status = response.status();
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let (handle, offset) = (header("electric-handle"), header("electric-offset"));
            let up_to_date = header("electric-up-to-date").is_some();
            let body = response.text().await.map_err(reqwest::Error::without_url)?;
            if status == reqwest::StatusCode::CONFLICT {
                return Ok(false);
            }
            anyhow::ensure!(status.is_success(), "the server answers {status}: {body}");
            let messages: Vec<Value> = serde_json::from_str(&body)?;
            messages.into_iter().try_for_each(|message| self.take(message))?;
            self.offset = offset.ok_or_else(|| anyhow::anyhow!("no electric-offset header"))?;
            self.handle = handle;
            if up_to_date {
                return Ok(true);
            }
        }
    }

    fn url(&self) -> anyhow::Result<reqwest::Url> {
        let mut url = self.args.url.join("/v1/shape")?;
        let mut query = url.query_pairs_mut();
        query.append_pair("offset", &self.offset);
        query.extend_pairs(self.parameters);
        self.args.secret.iter().for_each(|secret| _ = query.append_pair("secret", secret));
        self.handle.iter().for_each(|handle| _ = query.append_pair("handle", handle));
        drop(query);
        Ok(url)
    }

    fn take(&mut self, mut message: Value) -> anyhow::Result<()> {
        let headers = &message["headers"];
        if headers["control"] == "up-to-date" {
            let seen = headers["global_last_seen_lsn"].as_str().unwrap_or_default();
            self.seen = Lsn(seen.parse()?);
        } else if headers["lsn"].is_string() {
            self.entries.push(message);
        } else if headers["operation"].is_string() {
            let key = key(&message)?;
            let rows = self.base.entry(key.clone()).or_default();
            rows.push(message["value"].take());
            anyhow::ensure!(rows.len() == 1 || self.keyless(), "{key} is in the snapshot twice");
        }
        Ok(())
    }

    /// The rows after the transactions that a snapshot contains.
    pub fn rows_at(self, visibility: &Visibility) -> anyhow::Result<Rows> {
        let keyless = self.keyless();
        let mut rows = self.base;
        for entry in self.entries {
            let xid = entry["headers"]["txids"][0].as_u64().and_then(|xid| u32::try_from(xid).ok());
            let xid =
                xid.ok_or_else(|| anyhow::anyhow!("an entry without a transaction: {entry}"))?;
            if visibility.contains(xid) {
                apply(&mut rows, entry, keyless)?;
            }
        }
        Ok(rows)
    }

    /// Whether equal rows may be there more than once.
    fn keyless(&self) -> bool {
        self.defined.table().primary_key().is_empty()
    }
}

fn apply(rows: &mut Rows, mut entry: Value, keyless: bool) -> anyhow::Result<()> {
    let key = key(&entry)?;
    match entry["headers"]["operation"].as_str() {
        Some("insert") => {
            let rows = rows.entry(key.clone()).or_default();
            rows.push(entry["value"].take());
            anyhow::ensure!(rows.len() == 1 || keyless, "{key} is inserted although it is there");
        }
        Some("delete") => {
            let left = rows.get_mut(&key).and_then(|rows| rows.pop().map(|_| rows.len()));
            let left =
                left.ok_or_else(|| anyhow::anyhow!("{key} is deleted although it is not there"))?;
            if left == 0 {
                rows.remove(&key);
            }
        }
        _ => {
            let row = rows.get_mut(&key).and_then(|rows| rows.last_mut());
            let row =
                row.ok_or_else(|| anyhow::anyhow!("{key} is updated although it is not there"))?;
            if let Value::Object(changed) = entry["value"].take() {
                changed.into_iter().for_each(|(column, value)| row[column] = value);
            }
        }
    }
    Ok(())
}
