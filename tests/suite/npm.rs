//! The published TypeScript client against our server: what most users run.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Process, World};

const PATIENCE: Duration = Duration::from_secs(30);

/// A script of `tests/clients` with its arguments.
pub fn script(name: &str, arguments: &[&str]) -> Command {
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let installed = clients.join("node_modules/@electric-sql/client").is_dir();
    assert!(
        installed,
        "the JavaScript packages are not installed: run ./tests/run, or npm ci in tests/clients"
    );
    let mut command = Command::new("node");
    command.arg(clients.join(name)).args(arguments).stdin(Stdio::null());
    command
}

struct Client(Process);

impl Client {
    fn start(world: &World, params: &Value) -> Client {
        let url = format!("http://{}/v1/shape", world.server.address);
        Client(Process::spawn(&mut script("follow.mjs", &[&url, &params.to_string()])))
    }

    /// Waits until the client shows exactly these rows.
    async fn shows(&mut self, expected: Value) {
        let process = &mut self.0;
        let waiting = async {
            loop {
                let rows: Value = serde_json::from_str(&process.line("rows ", PATIENCE).await)
                    .expect("rows are JSON");
                if rows == expected {
                    return;
                }
            }
        };
        let shown = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(shown, "never {expected}:\n{}", self.0.output());
    }
}

#[tokio::test]
async fn the_typescript_client_follows_inserts_updates_deletes_and_a_truncate() {
    let mut world = World::new().await;
    world
        .sql(
            "CREATE TABLE issues (id int8 PRIMARY KEY, title text NOT NULL, done bool, price numeric(8,2), tags text[], \
             doc jsonb, f float8)",
        )
        .await;
    world.sql("INSERT INTO issues VALUES (1, 'one', true, 1.5, '{a,\"b c\",NULL}', '{\"x\": [1, null]}', 1.25)").await;
    world.sql("INSERT INTO issues VALUES (2, 'zwei \"q\" ü', NULL, NULL, NULL, NULL, NULL)").await;
    let mut all = Client::start(&world, &json!({"table": "issues"}));
    let mut done = Client::start(
        &world,
        &json!({"table": "issues", "where": "done = $1", "params": ["true"], "columns": ["id", "title"]}),
    );
    let one = json!({"id": "1n", "title": "one", "done": true, "price": "1.50", "tags": ["a", "b c", null],
        "doc": {"x": [1, null]}, "f": 1.25});
    let two = json!({"id": "2n", "title": "zwei \"q\" ü", "done": null, "price": null, "tags": null, "doc": null, "f": null});
    all.shows(json!([one, two])).await;
    done.shows(json!([{"id": "1n", "title": "one"}])).await;
    world.sql("UPDATE issues SET done = true WHERE id = 2").await;
    done.shows(json!([{"id": "1n", "title": "one"}, {"id": "2n", "title": "zwei \"q\" ü"}])).await;
    world.sql("INSERT INTO issues (id, title) VALUES (3, 'three')").await;
    world.sql("UPDATE issues SET title = 'eins', done = false WHERE id = 1").await;
    world.sql("DELETE FROM issues WHERE id = 2").await;
    let three = json!({"id": "3n", "title": "three", "done": null, "price": null, "tags": null, "doc": null, "f": null});
    let mut eins = one.clone();
    (eins["title"], eins["done"]) = (json!("eins"), json!(false));
    all.shows(json!([eins, three])).await;
    done.shows(json!([])).await;
    world.sql("UPDATE issues SET id = 30 WHERE id = 3").await;
    let mut thirty = three.clone();
    thirty["id"] = json!("30n");
    all.shows(json!([eins, thirty])).await;
    world.sql("BEGIN; TRUNCATE issues; INSERT INTO issues (id, title, done) VALUES (4, 'new', true); COMMIT").await;
    done.shows(json!([{"id": "4n", "title": "new"}])).await;
    // The client gives up on an answer that is cut in its middle, so nothing may be under way.
    let four = json!({"id": "4n", "title": "new", "done": true, "price": null, "tags": null, "doc": null, "f": null});
    all.shows(json!([four])).await;
    world.server.crash().await;
    world.sql("DELETE FROM issues").await;
    all.shows(json!([])).await;
    done.shows(json!([])).await;
}

#[tokio::test]
async fn the_typescript_client_loads_many_chunks() {
    let world = World::with(crate::harness::Database::shared().await, |options| {
        options.chunk_bytes = Some(10_000)
    })
    .await;
    world.sql("CREATE TABLE issues (id int PRIMARY KEY, title text)").await;
    world
        .sql("INSERT INTO issues SELECT g, repeat('x', 20) || g FROM generate_series(1, 2000) g")
        .await;
    let mut client = Client::start(&world, &json!({"table": "issues"}));
    let row = |id: i32| json!({"id": id, "title": format!("{}{id}", "x".repeat(20))});
    client.shows((1..=2000).map(row).collect()).await;
    world.sql("UPDATE issues SET title = 'y' WHERE id > 10").await;
    client
        .shows(
            (1..=2000)
                .map(|id| if id > 10 { json!({"id": id, "title": "y"}) } else { row(id) })
                .collect(),
        )
        .await;
}
