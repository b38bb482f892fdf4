//! Refusals at the door: each says what is wrong and what to run, before anything half works.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Cluster, Database, Locale, Options, Process, Shape, World, postgres};

/// Starts a server that must give up; its output.
async fn refused(options: &Options) -> String {
    let mut process = Process::spawn(&mut options.command());
    let status = process.exit(Duration::from_secs(30)).await;
    let output = process.output();
    assert!(!status.success(), "it ended with success:\n{output}");
    assert!(!output.contains("panicked"), "a panic is no message:\n{output}");
    output
}

fn check_words(output: &str, words: &[&str]) {
    for word in words {
        assert!(
            output.to_lowercase().contains(&word.to_lowercase()),
            "'{word}' is not in:\n{output}"
        );
    }
}

#[tokio::test]
async fn wal_level_must_be_logical() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &["wal_level=replica"]));
    let db = Database::create(cluster).await;
    let output = refused(&Options::of(&db)).await;
    check_words(&output, &["wal_level", "logical", "ALTER SYSTEM SET wal_level"]);
}

#[tokio::test]
async fn a_role_without_replication_is_told_what_to_run() {
    let db = Database::shared().await;
    let role = format!("plain_{}", db.name);
    db.sql(&format!("CREATE ROLE {role} LOGIN")).await;
    let options = Options { database_url: db.url_as(&role), ..Options::of(&db) };
    let output = refused(&options).await;
    check_words(&output, &["REPLICATION", "ALTER ROLE", &role]);
    db.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn an_unreachable_database_is_named_without_its_password() {
    let db = Database::shared().await;
    let nobody = postgres::free_port();
    let url = format!("postgresql://postgres:planted-passw0rd@127.0.0.1:{nobody}/x");
    let output = refused(&Options { database_url: url, ..Options::of(&db) }).await;
    check_words(&output, &[&format!("127.0.0.1:{nobody}")]);
    assert!(!output.contains("planted-passw0rd"), "{output}");
}

#[tokio::test]
async fn a_database_or_role_that_does_not_exist_is_named() {
    let db = Database::shared().await;
    let url = db.cluster.url("postgres", "no_such_database");
    let output = refused(&Options { database_url: url, ..Options::of(&db) }).await;
    check_words(&output, &["no_such_database"]);
    let output =
        refused(&Options { database_url: db.url_as("no_such_role"), ..Options::of(&db) }).await;
    check_words(&output, &["no_such_role"]);
}

#[tokio::test]
async fn exactly_one_of_secret_and_insecure_is_needed() {
    let db = Database::shared().await;
    let neither = Options { insecure: false, ..Options::of(&db) };
    check_words(&refused(&neither).await, &["--secret", "--insecure"]);
    let both = Options { secret: Some("s3cret".to_owned()), ..Options::of(&db) };
    check_words(&refused(&both).await, &["--secret", "--insecure"]);
    let empty = Options { insecure: false, secret: Some(String::new()), ..Options::of(&db) };
    check_words(&refused(&empty).await, &["secret"]);
}

#[tokio::test]
async fn a_log_level_that_is_none_is_refused() {
    let db = Database::shared().await;
    for level in ["inof", "brooklet", "brooklet=inof"] {
        let arguments = ["--log-level", level].map(str::to_owned).to_vec();
        let output = refused(&Options { arguments, ..Options::of(&db) }).await;
        check_words(&output, &["--log-level", "error, warn, info, debug or trace"]);
    }
    let world = World::with(db, |options| {
        options.arguments.extend(["--log-level", "INFO"].map(str::to_owned));
        // Set to nothing, as a compose file does with a variable that is not.
        options.environment.push(("RUST_LOG".to_owned(), String::new()));
    })
    .await;
    assert!(world.server.logs().contains("INFO"), "{}", world.server.logs());
}

#[tokio::test]
async fn a_slot_in_use_is_refused_and_its_holder_goes_on() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let mut items = world.follow(Shape::of("items")).await;
    let output = refused(&Options::of(&world.db)).await;
    check_words(&output, &[&world.db.slot(), "--stream-id"]);
    world.sql("INSERT INTO items VALUES (1)").await;
    items.until("the row", |rows| rows.len() == 1).await;
}

#[tokio::test]
async fn a_table_with_row_level_security_is_refused_unless_our_role_bypasses_it() {
    let db = Database::shared().await;
    let role = format!("sync_{}", db.name);
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN REPLICATION; GRANT CREATE ON DATABASE {} TO {role}",
        db.name
    ))
    .await;
    db.sql(&format!("GRANT ALL ON SCHEMA public TO {role}")).await;
    db.sql(
        "CREATE TABLE items (id int PRIMARY KEY, owner text); ALTER TABLE items ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY own ON items USING (owner = current_user); ALTER TABLE items FORCE ROW LEVEL SECURITY",
    )
    .await;
    db.sql(&format!("ALTER TABLE items OWNER TO {role}; INSERT INTO items VALUES (1, 'somebody')"))
        .await;
    let url = db.url_as(&role);
    let world = World::with(db, |options| options.database_url = url).await;
    let refusal = world.get("/v1/shape?table=items&offset=-1").await.expect(400);
    check_words(&refusal.text(), &["row level security", "BYPASSRLS"]);
    world.sql(&format!("ALTER ROLE {role} BYPASSRLS")).await;
    let items = crate::harness::eventually("the role bypasses it now", async || {
        let answer = world.get("/v1/shape?table=items&offset=-1").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(items.text().contains("somebody"), "{}", items.shown());
}

#[tokio::test]
async fn a_table_that_our_role_may_not_read_or_publish_says_so() {
    let db = Database::shared().await;
    let role = format!("weak_{}", db.name);
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN REPLICATION; GRANT CREATE ON DATABASE {} TO {role}",
        db.name
    ))
    .await;
    db.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let url = db.url_as(&role);
    let world = World::with(db, |options| options.database_url = url).await;
    let refusal = world.get("/v1/shape?table=items&offset=-1").await;
    assert!(refusal.status == 503 || refusal.status == 400, "{}", refusal.shown());
    let text = refusal.text().to_lowercase();
    assert!(
        text.contains("permission") || text.contains("owner") || text.contains("grant"),
        "{}",
        refusal.shown()
    );
}

#[tokio::test]
async fn relations_that_cannot_be_streamed_are_refused_with_the_reason() {
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE base (id int PRIMARY KEY); CREATE VIEW seen AS SELECT * FROM base; \
             CREATE MATERIALIZED VIEW kept AS SELECT * FROM base; CREATE UNLOGGED TABLE loose (id int PRIMARY KEY); \
             CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent); \
             CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE UNLOGGED TABLE loose_part PARTITION OF parts FOR VALUES FROM (0) TO (9); CREATE SEQUENCE counter; \
             CREATE TABLE swapped (id int PRIMARY KEY DEFERRABLE); \
             CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)",
        )
        .await;
    for (table, word) in [
        ("seen", "view"),
        ("kept", "view"),
        ("loose", "unlogged"),
        ("parent", "inherit"),
        ("parts", "loose_part\" is foreign or unlogged"),
        ("counter", "counter"),
        ("swapped", "deferrable"),
        ("pg_catalog.pg_class", "pg_class"),
    ] {
        let refusal = world.get(&format!("/v1/shape?table={table}&offset=-1")).await.expect(400);
        let reason =
            refusal.json()["errors"]["table"][0].as_str().unwrap_or_default().to_lowercase();
        assert!(reason.contains(word), "{table}: {}", refusal.shown());
    }
    for query in ["", "&columns=id,twice", "&columns=id&where=twice%3D2"] {
        let refusal =
            world.get(&format!("/v1/shape?table=made&offset=-1{query}")).await.expect(400);
        check_words(&refusal.text(), &["generated"]);
    }
    let made = world.follow(Shape::of("made").columns("id")).await;
    assert!(made.rows().is_empty());
}

#[tokio::test]
async fn text_order_of_a_locale_is_refused_and_bytes_are_offered() {
    let db = Database::create(Cluster::shared(Locale::EnUs)).await;
    let world = World::with(db, |_| {}).await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text, plain text COLLATE \"C\")").await;
    world.sql("INSERT INTO items VALUES (1, 'B', 'B'), (2, 'a', 'a')").await;
    for filter in ["name < 'b'", "name >= 'a'", "name BETWEEN 'a' AND 'b'", "NOT name > 'x'"] {
        let target = format!("{}&offset=-1", Shape::of("items").filter(filter).target());
        let refusal = world.get(&target).await.expect(400);
        check_words(&refusal.text(), &["collat"]);
    }
    for filter in
        ["name = 'a'", "name LIKE 'a%'", "name IN ('a', 'b')", "name <> 'a'", "plain < 'b'"]
    {
        let shape = world.follow(Shape::of("items").filter(filter)).await;
        assert_eq!(shape.rows(), world.truth(&shape.shape).await, "{filter}");
    }
}

#[tokio::test]
async fn a_publication_that_filters_is_not_used_blindly() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    world
        .sql(&format!("ALTER PUBLICATION {} ADD TABLE items WHERE (id > 100)", world.db.slot()))
        .await;
    world.sql("ALTER TABLE items REPLICA IDENTITY FULL").await;
    let answer = world.get("/v1/shape?table=items&offset=-1").await;
    if answer.status == 200 {
        // It may mend the publication instead of refusing; then the stream must be whole.
        let mut items = world.follow(Shape::of("items")).await;
        world.sql("INSERT INTO items VALUES (1, 'x')").await;
        items.until("the row that the publication filtered", |rows| rows.len() == 1).await;
    } else {
        assert!(answer.status == 400 || answer.status == 503, "{}", answer.shown());
        check_words(&answer.text(), &["publication"]);
    }
}
