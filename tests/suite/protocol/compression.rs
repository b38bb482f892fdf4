//! Compressed answers: as the client wants them, and the same once unpacked.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Request, Response, Shape, World};

/// Unpacks with somebody else's code; `None` where this machine has none.
fn unpack(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    let script = |function: &str| {
        format!("process.stdout.write(require('zlib').{function}(require('fs').readFileSync(0)))")
    };
    let mut command = match encoding {
        "gzip" => node(&script("gunzipSync")),
        "br" => node(&script("brotliDecompressSync")),
        "zstd" => {
            let mut zstd = Command::new("zstd");
            zstd.arg("-dc");
            zstd
        }
        other => panic!("{other}"),
    };
    let mut program = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(program) => program,
        Err(_) if encoding == "zstd" => return None,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let mut input = program.stdin.take().expect("stdin");
    let bytes = body.to_vec();
    let feeding = std::thread::spawn(move || input.write_all(&bytes));
    let output = program.wait_with_output().expect("the output");
    feeding.join().unwrap().expect("feed it");
    assert!(output.status.success(), "{encoding}: no whole stream");
    Some(output.stdout)
}

fn node(script: &str) -> Command {
    let mut node = Command::new("node");
    node.args(["-e", script]);
    node
}

/// A body without the position that rises all the time.
fn stable(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).expect("UTF-8");
    text.split("\"global_last_seen_lsn\"").next().unwrap_or_default().to_owned()
}

async fn ask(world: &World, target: &str, encodings: &str) -> Response {
    world.send(Request::get(target).header("accept-encoding", encodings)).await
}

#[tokio::test]
async fn an_answer_is_packed_as_the_client_wants_and_the_same_unpacked() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world
        .sql("INSERT INTO items SELECT g, md5(g::text) || 'ä' FROM generate_series(1, 5000) g")
        .await;
    let mut items = world.follow(Shape::of("items")).await;
    world.sql("UPDATE items SET body = 'x' || body").await;
    items
        .until("the update", |rows| {
            rows.iter().all(|row| row["body"].as_ref().is_some_and(|body| body.starts_with('x')))
        })
        .await;
    let handle = &items.handle;
    let targets = [
        format!("/v1/shape?table=items&offset=-1&handle={handle}"),
        format!("/v1/shape?table=items&offset=0_inf&handle={handle}"),
        format!("/v1/shape?table=items&offset=0_inf&handle={handle}&live=true"),
    ];
    for target in targets {
        let plain = world.get(&target).await.expect(200);
        assert!(
            plain.header("content-encoding").is_none(),
            "{}",
            plain.header("vary").unwrap_or("")
        );
        for encoding in ["gzip", "br", "zstd"] {
            let packed = ask(&world, &target, encoding).await.expect(200);
            assert_eq!(packed.header("content-encoding"), Some(encoding), "{target}");
            assert_eq!(packed.header("vary"), Some("accept, accept-encoding"), "{target}");
            assert!(packed.body.len() < plain.body.len(), "{target}");
            match unpack(encoding, &packed.body) {
                Some(unpacked) => {
                    assert!(stable(&unpacked) == stable(&plain.body), "{target} in {encoding}")
                }
                None => assert!(packed.body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "{target}"),
            }
            for name in [
                "etag",
                "electric-offset",
                "electric-handle",
                "electric-schema",
                "cache-control",
                "content-type",
            ] {
                assert_eq!(packed.header(name), plain.header(name), "{target}: {name}");
            }
        }
        // Whoever stores the plain answer has to know that there are others.
        assert_eq!(plain.header("vary"), Some("accept, accept-encoding"), "{target}");
        for refused in ["identity", "gzip;q=0", "*;q=0, identity", "nonsense", ""] {
            let answer = ask(&world, &target, refused).await.expect(200);
            assert!(answer.header("content-encoding").is_none(), "{refused}: {target}");
            assert!(stable(&answer.body) == stable(&plain.body), "{refused}: {target}");
        }
    }
    let subset = ask(
        &world,
        "/v1/shape?table=items&offset=now&subset__where=true&subset__order_by=id",
        "gzip",
    )
    .await
    .expect(200);
    assert_eq!(subset.header("content-encoding"), Some("gzip"));
    let body: serde_json::Value =
        serde_json::from_slice(&unpack("gzip", &subset.body).unwrap()).unwrap();
    assert_eq!(body["data"].as_array().unwrap().len(), 5000);
}

#[tokio::test]
async fn a_tag_holds_whatever_the_packing() {
    let world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, body text)").await;
    world.sql("INSERT INTO items SELECT g, repeat('x', 100) FROM generate_series(1, 100) g").await;
    let target = "/v1/shape?table=items&offset=-1";
    let tag = ask(&world, target, "gzip").await.expect(200).header("etag").unwrap().to_owned();
    for encodings in ["gzip", "br", "identity"] {
        let request = Request::get(target).header("if-none-match", &tag);
        world.send(request.header("accept-encoding", encodings)).await.expect(304);
    }
    let head = Request::new("HEAD", target).header("accept-encoding", "gzip");
    assert!(world.send(head).await.expect(200).body.is_empty());
}
