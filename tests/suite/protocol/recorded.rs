//! Conversations recorded with another server of the protocol, repeated with ours.
//!
//! `recorded.jsonl` has one exchange a line, in order. What differs from server to server is a placeholder that is
//! bound when first met: `<h1>` a handle, `<l1>` a position, `<o1>` an offset; `<*>` is any number, `<any>` any
//! text, `<number>` a JSON number. Booleans and addresses are as their output functions print them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Database, Request, Response, World};

const RECORDED: &str = include_str!("recorded.jsonl");

type Bindings = HashMap<String, String>;

#[tokio::test]
async fn recorded_conversations_are_repeated() {
    let world = World::with(Database::shared().await, |options| {
        options.chunk_bytes = Some(2_000);
        options.may_delete = true;
        options.long_poll = Duration::from_secs(1);
    })
    .await;
    let mut bindings = Bindings::new();
    let mut failures = Vec::new();
    for line in RECORDED.lines() {
        let sample: Value = serde_json::from_str(line).expect("recorded.jsonl is JSON");
        if let Err(failure) = repeat(&world, &sample, &mut bindings).await {
            failures.push(format!("{}: {failure}", sample["name"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} exchanges differ:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Repeats one exchange; after SQL it is asked again until the change has arrived.
async fn repeat(world: &World, sample: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let statements = sample["sql"].as_array().cloned().unwrap_or_default();
    for sql in &statements {
        world.sql(sql.as_str().unwrap()).await;
    }
    let mut request = Request::new(
        sample["request"]["method"].as_str().unwrap(),
        fill(sample["request"]["target"].as_str().unwrap(), bindings),
    );
    for (name, value) in sample["request"]["headers"].as_object().into_iter().flatten() {
        request = request.header(name, &fill(value.as_str().unwrap(), bindings));
    }
    let deadline = Instant::now() + Duration::from_secs(if statements.is_empty() { 0 } else { 10 });
    loop {
        let mut attempt = bindings.clone();
        let outcome = compare(sample, &world.send(request.clone()).await, &mut attempt);
        if outcome.is_ok() || Instant::now() > deadline {
            *bindings = attempt;
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn compare(sample: &Value, response: &Response, bindings: &mut Bindings) -> Result<(), String> {
    if sample["status"] != response.status {
        return Err(format!("status {} instead of {}", response.shown(), sample["status"]));
    }
    for (name, value) in sample["headers"].as_object().unwrap() {
        let actual = response
            .header(name)
            .ok_or_else(|| format!("no header {name}: {}", response.shown()))?;
        matches(value, &Value::from(actual), bindings)
            .map_err(|error| format!("header {name}: {error}"))?;
    }
    let up_to_date = |headers: &Value| headers.get("electric-up-to-date").is_some();
    if !up_to_date(&sample["headers"]) && response.header("electric-up-to-date").is_some() {
        return Err("electric-up-to-date without need".to_owned());
    }
    if let Some(schema) = sample.get("schema") {
        let actual = response.header("electric-schema").ok_or("no electric-schema")?;
        let actual: Value = serde_json::from_str(actual).map_err(|error| error.to_string())?;
        matches(schema, &actual, bindings).map_err(|error| format!("schema: {error}"))?;
    }
    let body = &sample["body"];
    let actual = if body.is_string() { Value::from(response.text()) } else { response.json() };
    matches(body, &actual, bindings).map_err(|error| format!("body: {error}\n{}", response.shown()))
}

/// Whether a value is what was recorded; binds placeholders.
fn matches(recorded: &Value, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
    let differ = || Err(format!("{actual} instead of {recorded}"));
    match (recorded, actual) {
        (Value::String(text), _) if text == "<any>" => Ok(()),
        (Value::String(text), Value::Number(_)) if text == "<number>" => Ok(()),
        (Value::String(recorded), Value::String(actual)) => {
            matches_text(recorded, actual, bindings)
        }
        (Value::Array(recorded), Value::Array(values)) if recorded.len() == values.len() => {
            recorded
                .iter()
                .zip(values)
                .try_for_each(|(recorded, value)| matches(recorded, value, bindings))
        }
        (Value::Object(recorded), Value::Object(values)) if recorded.len() == values.len() => {
            for (name, recorded) in recorded {
                let value =
                    values.get(name).ok_or_else(|| format!("{name} is missing in {actual}"))?;
                matches(recorded, value, bindings)?;
            }
            Ok(())
        }
        _ if recorded == actual => Ok(()),
        _ => differ(),
    }
}

fn matches_text(recorded: &str, actual: &str, bindings: &mut Bindings) -> Result<(), String> {
    let differ = || format!("'{actual}' instead of '{recorded}'");
    let mut rest = actual;
    let mut pattern = recorded;
    while let Some((literal, name, after)) = next_placeholder(pattern) {
        rest = rest.strip_prefix(literal).ok_or_else(differ)?;
        pattern = after;
        let length = match name {
            "<any>" => rest.find(after).filter(|_| !after.is_empty()).unwrap_or(rest.len()),
            "<*>" | "<number>" => {
                rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len())
            }
            _ => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c))
                .unwrap_or(rest.len()),
        };
        let (value, tail) = rest.split_at(length);
        if value.is_empty() && name != "<any>" {
            return Err(differ());
        }
        let bound = !["<any>", "<*>", "<number>"].contains(&name);
        if bound && bindings.entry(name.to_owned()).or_insert_with(|| value.to_owned()) != value {
            return Err(format!("{}: {name} was {} before", differ(), bindings[name]));
        }
        rest = tail;
    }
    if rest == pattern { Ok(()) } else { Err(differ()) }
}

/// Splits at the first placeholder: what is before it, itself, what is after it.
fn next_placeholder(pattern: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        let numbered =
            name.strip_prefix(['h', 'l', 'o']).is_some_and(|number| number.parse::<u32>().is_ok());
        numbered || ["*", "any", "number"].contains(&name)
    };
    let mut from = 0;
    while let Some(open) = pattern[from..].find('<').map(|at| at + from) {
        let close = pattern[open..].find('>').map(|at| at + open)?;
        if is_name(&pattern[open + 1..close]) {
            return Some((&pattern[..open], &pattern[open..=close], &pattern[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// Puts bound values into a request.
fn fill(text: &str, bindings: &Bindings) -> String {
    let mut filled = text.to_owned();
    for (name, value) in bindings {
        filled = filled.replace(name, value);
    }
    filled
}
