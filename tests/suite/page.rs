//! The page at `/` in a real browser: it connects, and what is written in Postgres shows.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Process, World, run_dir};
use crate::npm::script;

const PATIENCE: Duration = Duration::from_secs(30);

fn chromium() -> &'static str {
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
        "/snap/bin/chromium",
    ];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    found.expect("Chromium was not found: run ./tests/run, which installs what the tests need")
}

/// Waits until a number on the page satisfies a condition.
async fn until(page: &mut Process, name: &str, condition: impl Fn(u64) -> bool) -> u64 {
    let waiting = async {
        loop {
            let value = page.line(&format!("{name} "), PATIENCE).await.parse().unwrap_or(0);
            if condition(value) {
                return value;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{name} never came where it should:\n{}", page.output()))
}

#[tokio::test]
async fn the_page_goes_live_and_counts_what_is_written() {
    let world = World::new().await;
    world.sql("CREATE TABLE issues (id int PRIMARY KEY, title text)").await;
    world
        .sql("INSERT INTO issues SELECT g, '<b>title</b> ' || g FROM generate_series(1, 20) g")
        .await;
    let url = format!("http://{}/", world.server.address);
    let mut page = Process::spawn(&mut script("page.mjs", &[&url, chromium()]));
    while page.line("state ", PATIENCE).await != "live" {}
    // A poll is certain to be parked or coming: a commit must show up either way.
    world.sql("INSERT INTO issues VALUES (21, 'new')").await;
    let before = until(&mut page, "changes", |changes| changes >= 1).await;
    world.sql("UPDATE issues SET title = 'changed' WHERE id <= 5").await;
    until(&mut page, "changes", |changes| changes >= before + 5).await;
    world.sql("DELETE FROM issues WHERE id > 5").await;
    until(&mut page, "rows", |rows| rows == 5).await;
    world.sql("TRUNCATE issues").await;
    until(&mut page, "rows", |rows| rows == 0).await;
    run_dir::signal(page.id(), "TERM");
    page.exit(PATIENCE).await;
    let problems: Vec<String> = page
        .output()
        .lines()
        .filter(|line| line.starts_with("problem "))
        .map(str::to_owned)
        .collect();
    // A 409 after TRUNCATE is an answer of the protocol; browsers log every 4xx.
    let unexpected: Vec<_> = problems.iter().filter(|line| !line.contains("409")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
