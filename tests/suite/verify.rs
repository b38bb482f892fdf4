//! `brooklet verify` where all is not as quiet as it would like: it says what differs, what it could not compare, and
//! never that something differs which does not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use crate::harness::gate::Gate;
use crate::harness::server::brooklet;
use crate::harness::{Database, Process, Request, Shape, World, eventually};

const TABLE: &str = "CREATE TABLE items (id int PRIMARY KEY, n int, name text)";
const PATIENCE: Duration = Duration::from_secs(60);

/// Its exit code and what it said.
async fn ended(mut verified: Process) -> (Option<i32>, String) {
    let status = verified.exit(PATIENCE).await;
    (status.code(), verified.output())
}

#[tokio::test]
async fn a_log_that_ends_behind_the_snapshot_is_compared_anew() {
    let db = Database::shared().await;
    let gate = Gate::before(db.cluster.port);
    let world = World::with(db, |options| {
        options.may_delete = true;
        let name = options.database_url.rsplit('/').next().unwrap_or_default();
        options.database_url = format!("postgresql://postgres@127.0.0.1:{}/{name}", gate.port);
    })
    .await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    world.follow(Shape::of("items")).await;
    let role = format!("verify_{}", world.db.name);
    world.sql(&format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
    let held = gate.hold();
    world.sql("INSERT INTO items VALUES (2, 2, 'in the snapshot')").await;
    let mut command = brooklet();
    let url = format!("http://{}", world.server.address);
    command.args(["verify", "--url", &url, "--database-url", &world.db.url_as(&role)]);
    let verified = Process::spawn(command.args(["--table", "items"]));
    eventually("its snapshot", async || {
        let asked = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state = 'idle' AND query = 'COMMIT'"
        );
        (world.db.value(&asked).await != "0").then_some(())
    })
    .await;
    world.sql("INSERT INTO items VALUES (3, 3, 'behind the snapshot')").await;
    world.send(Request::new("DELETE", Shape::of("items").target())).await.expect(202);
    eventually("verify to begin anew", async || verified.output().contains("anew").then_some(()))
        .await;
    drop(held);
    let (code, said) = ended(verified).await;
    assert!(said.contains("3 rows in Postgres, 3 served"), "{said}");
    assert_eq!(code, Some(0), "{said}");
    world.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_shape_that_cannot_be_compared_leaves_the_others() {
    let world = World::new().await;
    world.sql(TABLE).await;
    world.sql("CREATE TABLE gone (id int PRIMARY KEY)").await;
    let tables = ["gone", "items"];
    for table in tables {
        world.follow(Shape::of(table)).await;
    }
    // Another database that lacks one of the tables stands in for a table that was dropped just now.
    let other = Database::shared().await;
    other.sql(TABLE).await;
    let url = format!("http://{}", world.server.address);
    let verify = || {
        let mut command = brooklet();
        command.args(["verify", "--all", "--url", &url, "--database-url", &other.url()]);
        Process::spawn(&mut command)
    };
    let (code, said) = ended(verify()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("\"public\".\"gone\": cannot be compared: Table"), "{said}");
    let counts = "1 shapes compared, 0 without rows left out, 1 could not be compared";
    assert!(said.contains(counts), "{said}");
    // A difference is worse.
    other.sql("INSERT INTO items VALUES (1, 1, 'x')").await;
    let (code, said) = ended(verify()).await;
    assert!(said.contains("1 DIFFER") && said.contains(counts), "{said}");
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test]
async fn every_published_table_is_compared_but_for_generated_columns() {
    let world = World::new().await;
    world
        .sql("CREATE TABLE a_made (id int PRIMARY KEY, \"the N\" int, twice int GENERATED ALWAYS AS (id * 2) STORED)")
        .await;
    world.sql("INSERT INTO a_made VALUES (1, 1), (2, 2)").await;
    world.sql("CREATE TABLE b_parent (id int PRIMARY KEY)").await;
    world.sql(TABLE).await;
    world.follow(Shape::of("a_made").columns("id")).await;
    for table in ["b_parent", "items"] {
        world.follow(Shape::of(table)).await;
    }
    let (code, said) = ended(world.verify(&[])).await;
    assert!(said.contains("2 rows in Postgres, 2 served"), "{said}");
    assert_eq!(code, Some(0), "{said}");
    // Now it cannot be served any more.
    world.sql("CREATE TABLE child () INHERITS (b_parent)").await;
    // The stream's id as somebody may write it for the server, too.
    let (url, stream) =
        (format!("http://{}", world.server.address), world.db.stream.to_uppercase());
    let mut command = brooklet();
    command.args(["verify", "--url", &url, "--database-url", &world.db.url()]);
    let (code, said) = ended(Process::spawn(command.args(["--stream-id", &stream]))).await;
    for name in ["a_made", "b_parent", "items"] {
        let line = said.lines().find(|line| line.contains(name)).unwrap_or_default();
        let word = if name == "b_parent" { "cannot be compared" } else { ": equal" };
        assert!(line.contains(word), "{name}: {said}");
    }
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_in_patience_only() {
    let db = Database::shared().await;
    db.sql(TABLE).await;
    // Connections come to stand, and nobody takes them.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for what in [&["--all"][..], &["--table", "items"]] {
        let mut command = brooklet();
        command.args(["verify", "--patience", "1", "--url", &url, "--database-url", &db.url()]);
        let (code, said) = ended(Process::spawn(command.args(what))).await;
        assert!(said.contains("timed out"), "{said}");
        assert_eq!(code, Some(2), "{said}");
    }
}

#[tokio::test]
async fn a_log_that_always_ends_is_given_up() {
    let db = Database::shared().await;
    db.sql(TABLE).await;
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    // Until the test process ends.
    thread::spawn(move || {
        for mut connection in server.incoming().map_while(Result::ok) {
            let answer =
                b"HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-length: 2\r\n\r\n[]";
            if connection.read(&mut [0; 4096]).is_ok() {
                _ = connection.write_all(answer);
            }
        }
    });
    let mut command = brooklet();
    command.args(["verify", "--url", &url, "--database-url", &db.url()]);
    let (code, said) = ended(Process::spawn(command.args(["--table", "items"]))).await;
    assert!(said.contains("must-refetch 10 times"), "{said}");
    assert_eq!(code, Some(2), "{said}");
}
