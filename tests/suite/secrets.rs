//! The secret: asked for on every spelling of the path, and never told.

use serde_json::json;

use std::time::Duration;

use crate::harness::server::brooklet;
use crate::harness::{Database, Options, Process, Request, Shape, World, encode};

#[tokio::test]
async fn no_spelling_of_the_path_gets_around_the_secret() {
    const SECRET: &str = "Gr0undhog-s3cret/+&";
    let world = World::with(Database::shared().await, |options| {
        options.insecure = false;
        options.secret = Some(SECRET.to_owned());
    })
    .await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY)").await;
    let query = "table=items&offset=-1";
    let paths = [
        "/v1/shape",
        "/v1/shape/",
        "//v1/shape",
        "/v1//shape",
        "/v1/%73hape",
        "/%76%31/shape",
        "/v1%2Fshape",
        "/./v1/shape",
        "/v1/./shape",
        "/x/../v1/shape",
        "/v1/shape/.",
        "/V1/SHAPE",
        "/v1/shape;x",
        "/v1/shape%00",
        "/v1/shape%20",
        "http://h/v1/shape",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            for guess in [
                "",
                "&secret=",
                "&secret=wrong",
                "&api_secret=wrong",
                "&secret=wrong&api_secret=Gr0undhog-s3cret%2F%2B%26",
            ] {
                let response =
                    world.send(Request::new(method, format!("{path}?{query}{guess}"))).await;
                // A 400 of the parameters would mean that they were looked at before the secret.
                let refused = match response.status {
                    401 | 404 => true,
                    400 => !String::from_utf8_lossy(&response.body).contains("errors"),
                    _ => false,
                };
                let told = response.header("electric-handle").is_some();
                assert!(refused && !told, "{method} {path}{guess}: {}", response.shown());
            }
        }
    }
    for path in ["/v1/shape", "//v1/shape", "/v1//shape", "/v1/shape/", "/v1/%73hape"] {
        let refused = world.get(&format!("{path}?{query}")).await.expect(401);
        assert_eq!(refused.json(), json!({"message": "Unauthorized - Invalid API secret"}));
        assert!(refused.header("access-control-allow-origin").is_none(), "{}", refused.shown());
        for name in ["secret", "api_secret"] {
            world.get(&format!("{path}?{query}&{name}={}", encode(SECRET))).await.expect(200);
        }
    }
    let last_wins = format!("/v1/shape?{query}&secret=wrong&secret={}", encode(SECRET));
    world.get(&last_wins).await.expect(200);
    for open in ["/", "/v1/health"] {
        world.get(open).await.expect(200);
    }
}

#[tokio::test]
async fn secrets_and_passwords_and_rows_are_never_logged() {
    const SECRET: &str = "planted-s3cret-4711";
    let db = Database::shared().await;
    db.sql("CREATE TABLE items (id int PRIMARY KEY, name text)").await;
    let world = World::with(db, |options| {
        options.insecure = false;
        options.secret = Some(SECRET.to_owned());
        options.database_url =
            options.database_url.replace("postgres@", "postgres:planted-passw0rd@");
        options.environment.push(("RUST_LOG".to_owned(), "debug".to_owned()));
    })
    .await;
    let mut items = world.follow(Shape::of("items").more(&format!("&secret={SECRET}"))).await;
    world.sql("INSERT INTO items VALUES (1, 'planted-row-value')").await;
    items.until("the row", |rows| rows.len() == 1).await;
    world.get(&format!("/v1/shape?table=nope&offset=-1&secret={SECRET}")).await.expect(400);
    world.get(&format!("/v1/shape?table=items&offset=-1&secret=x{SECRET}")).await.expect(401);
    world.get(&format!("/v1/shape?table=items&offset=-1&api_secret={SECRET}")).await.expect(200);
    let logs = world.server.logs();
    for planted in [SECRET, "planted-passw0rd", "planted-row-value"] {
        let line = logs.lines().find(|line| line.contains(planted));
        assert!(line.is_none(), "{planted} was logged: {line:?}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_not_shown() {
    const PLANTED: &str = "planted-passw0rd";
    let db = Database::shared().await;
    for (url, word) in [
        // As an environment file's quotes arrive.
        (format!("\"postgresql://u:{PLANTED}@127.0.0.1:1/db?sslmode=require\""), "quotes"),
        (format!("pgsql://u:{PLANTED}@127.0.0.1:1/db?x=y"), "postgresql://"),
        (format!("postgresql://u:p@{PLANTED}@127.0.0.1:1/db"), "%40"),
        (format!("postgresql://u:p@{PLANTED}/x@127.0.0.1:1/db"), "%40"),
    ] {
        let options = Options { database_url: url.clone(), ..Options::of(&db) };
        let mut explain = brooklet();
        explain.args(["explain", "--table", "t", "--where", "true", "--database-url", &url]);
        for command in [&mut options.command(), &mut explain] {
            let mut process = Process::spawn(command);
            let status = process.exit(Duration::from_secs(30)).await;
            let said = process.output();
            assert!(!status.success() && said.contains(word), "{said}");
            assert!(!said.contains(PLANTED), "{said}");
        }
    }
}
