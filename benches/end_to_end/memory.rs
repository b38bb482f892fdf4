//! A table is synced and one large transaction passes; the peak of resident memory over idle.

use std::time::Instant;

use serde_json::json;

use super::harness::{Shape, eventually_within};
use super::{PATIENCE, figures, first_sync, resident, seen, world};

pub async fn memory(table_rows: usize, transaction_rows: usize) {
    let world = world().await;
    world.sql("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, amount numeric, at timestamptz NOT NULL DEFAULT now())").await;
    world
        .sql(&format!("INSERT INTO items SELECT n, 'item number ' || n || repeat(' x', 20), n * 1.5 FROM generate_series(1, {table_rows}) n"))
        .await;
    let idle = resident(&world, "VmRSS");
    let begun = Instant::now();
    let (_, end) = first_sync::read(world.server.address, "-1").await;
    let synced = (begun.elapsed(), resident(&world, "VmHWM"));
    let begun = Instant::now();
    world
        .sql(&format!("UPDATE items SET amount = amount + 1 WHERE id <= {transaction_rows}"))
        .await;
    let target = world.db.position().await;
    eventually_within(PATIENCE, "the transaction to be in the log", async || {
        (seen(&world, &Shape::of("items")).await >= target - 1).then_some(())
    })
    .await;
    let streamed = (begun.elapsed(), resident(&world, "VmHWM"));
    let (bytes, _) = first_sync::read(world.server.address, &end).await;
    assert!(bytes > 100 * transaction_rows, "not every row is there");
    let passed = (begun.elapsed(), resident(&world, "VmHWM"));
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!("memory: a table of {table_rows} rows, then a transaction of {transaction_rows}");
    println!("  idle                  {:>9.0} MiB resident", mib(idle));
    println!(
        "  table synced          {:>9.0} MiB over idle at most, {:.1} s",
        mib(synced.1 - idle),
        synced.0.as_secs_f64()
    );
    println!(
        "  transaction streamed  {:>9.0} MiB over idle at most, {:.1} s with its writing",
        mib(streamed.1 - idle),
        streamed.0.as_secs_f64()
    );
    println!(
        "  and read by a client  {:>9.0} MiB over idle at most, {:.1} s",
        mib(passed.1 - idle),
        passed.0.as_secs_f64()
    );
    figures::write(
        "memory",
        &json!({
            "table_rows": table_rows,
            "transaction_rows": transaction_rows,
            "idle_kib": idle,
            "synced_kib_over_idle": synced.1 - idle,
            "streamed_kib_over_idle": streamed.1 - idle,
            "read_kib_over_idle": passed.1 - idle,
        }),
    );
}
