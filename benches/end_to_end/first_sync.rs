//! How long a client waits for all rows of a table, beside `COPY … TO STDOUT` of the same rows: when
//! nobody has asked for them before (cold), and when somebody has (warm).
//!
//! The client follows the protocol but only looks at headers and throws rows away as they come: what it would do
//! with them is its own matter, and `psql` writes them into nothing, too. Rounds alternate.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::harness::{Request, World, postgres, size};
use super::spread::Spread;
use super::{cpu_seconds, figures, resident, world_with};

const SHAPE: &str = "/v1/shape?table=items";

pub async fn first_sync(rows: usize) {
    let world = world_with(|options| options.may_delete = true).await;
    world.sql("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, amount numeric, at timestamptz NOT NULL DEFAULT now())").await;
    world
        .sql(&format!("INSERT INTO items SELECT n, 'item number ' || n || repeat(' x', 20), n * 1.5 FROM generate_series(1, {rows}) n"))
        .await;
    world.sql("VACUUM ANALYZE items").await;
    // Once, so that the table is published and its pages are in memory for everybody.
    sync(world.server.address).await;
    let idle = resident(&world, "VmRSS");
    let (mut copies, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut cpu) = (0, [[0.0; 2]; 2]);
    let rounds = size("BENCH_ROUNDS", 3);
    for _ in 0..rounds {
        copies.push(copy(&world));
        let deleted = Request::new("DELETE", SHAPE).send(world.server.address).await.unwrap();
        assert_eq!(deleted.status, 202, "{}", deleted.text());
        let (begun, before) = (Instant::now(), used(&world));
        bytes = sync(world.server.address).await;
        cold.push(begun.elapsed());
        add(&mut cpu[0], before, used(&world));
        let (begun, before) = (Instant::now(), used(&world));
        assert_eq!(sync(world.server.address).await, bytes);
        warm.push(begun.elapsed());
        add(&mut cpu[1], before, used(&world));
    }
    let peak = resident(&world, "VmHWM");
    println!(
        "first sync: {rows} rows, {:.0} MB of JSON, medians of {rounds} rounds",
        bytes as f64 / 1e6
    );
    copies.sort();
    let floor = median(&copies);
    println!("  COPY TO STDOUT        {} (the floor)", spread(&copies));
    let seconds = |times: &[Duration]| Spread::of(times.iter().map(Duration::as_secs_f64)).json();
    let mut found = json!({"rows": rows, "rounds": rounds, "copy_s": seconds(&copies)});
    for (name, mut times, cpu) in [("cold", cold, cpu[0]), ("warm", warm, cpu[1])] {
        times.sort();
        let ratio = median(&times) / floor;
        found[name] = json!({"s": seconds(&times), "ratio": ratio});
        let [ours, client] = cpu.map(|seconds| seconds / rounds as f64);
        println!(
            "  {name}                  {}, ratio {ratio:.2}; CPU {ours:.2} s, its client's {client:.2} s",
            spread(&times)
        );
    }
    println!(
        "  memory                {:>9.0} MiB over idle at most",
        peak.saturating_sub(idle) as f64 / 1024.0
    );
    found["memory_kib_over_idle"] = json!(peak.saturating_sub(idle));
    figures::write("first_sync", &found);
}

fn median(sorted: &[Duration]) -> f64 {
    sorted[sorted.len() / 2].as_secs_f64()
}

fn spread(sorted: &[Duration]) -> String {
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    let (low, high) = (seconds(sorted.first()), seconds(sorted.last()));
    format!("{:>9.3} s ({low:.3} to {high:.3})", median(sorted))
}

/// Seconds of CPU that the server and its client, this process, have used.
fn used(world: &World) -> [f64; 2] {
    [world.server.id(), std::process::id()].map(cpu_seconds)
}

fn add(sums: &mut [f64; 2], before: [f64; 2], after: [f64; 2]) {
    sums.iter_mut()
        .zip(before)
        .zip(after)
        .for_each(|((sum, before), after)| *sum += after - before);
}

fn copy(world: &World) -> Duration {
    let begun = Instant::now();
    let status = Command::new(postgres::program("psql"))
        .args(["-d", &world.db.url(), "-Xqc", "COPY items TO STDOUT"])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "COPY failed");
    begun.elapsed()
}

/// Reads all there is, as a new client; returns how many bytes of rows that were.
async fn sync(server: SocketAddr) -> usize {
    read(server, "-1").await.0
}

/// Reads from a place to the end and keeps nothing; returns how many bytes that were, and the end.
pub async fn read(server: SocketAddr, from: &str) -> (usize, String) {
    let (mut place, mut bytes) = (from.to_owned(), 0);
    loop {
        let (headers, length) = answer(server, &format!("{SHAPE}&offset={place}")).await.unwrap();
        bytes += length;
        place = format!("{}&handle={}", headers["electric-offset"], headers["electric-handle"]);
        if headers.contains_key("electric-up-to-date") {
            return (bytes, place);
        }
    }
}

/// The headers of an answer and how long its body was, of which no more than a buffer is kept.
async fn answer(server: SocketAddr, target: &str) -> io::Result<(HashMap<String, String>, usize)> {
    let mut stream = BufReader::with_capacity(256 << 10, TcpStream::connect(server).await?);
    let head = format!("GET {target} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let status = line(&mut stream).await?;
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let mut headers = HashMap::new();
    while let Some((name, value)) = line(&mut stream).await?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if let Some(length) = headers.get("content-length") {
        let length = length.parse().unwrap();
        skip(&mut stream, length).await?;
        return Ok((headers, length));
    }
    let mut length = 0;
    loop {
        let size = usize::from_str_radix(&line(&mut stream).await?, 16).unwrap();
        skip(&mut stream, size).await?;
        assert_eq!(line(&mut stream).await?, "", "the end of a piece");
        length += size;
        if size == 0 {
            return Ok((headers, length));
        }
    }
}

/// A line without its end. A stream that ends is an error, as for every client.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let whole = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(whole.to_owned())
}

async fn skip(stream: &mut BufReader<TcpStream>, mut count: usize) -> io::Result<()> {
    while count > 0 {
        let here = stream.fill_buf().await?.len().min(count);
        if here == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.consume(here);
        count -= here;
    }
    Ok(())
}
