//! An older copy of the directory, or of the database, takes the place of the newer one: whoever knows more fetches
//! anew.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::harness::{Cluster, Database, Locale, Shape, World};
use crate::repair::{STREAM_GOES_ON, repaired};

const ITEMS: &str = "
    CREATE TABLE items (id int PRIMARY KEY, n int, name text);
    INSERT INTO items SELECT g, g % 100, 'it''s ' || g FROM generate_series(1, 200) g";

#[tokio::test]
async fn an_older_copy_of_the_directory_never_answers_clients_that_know_more() {
    let mut world = World::new().await;
    world.sql(ITEMS).await;
    let mut early = world.follow(Shape::of("items")).await;
    world.server.stop().await;
    let (storage, copy) =
        (world.server.storage().to_owned(), world.server.storage().with_extension("copy"));
    copy_dir(&storage, &copy);
    world.server.restart().await;
    let mut late = world.follow(Shape::of("items")).await.through_refetches();
    assert_eq!(late.handle, early.handle);
    world
        .sql("UPDATE items SET n = 1000 WHERE id = 1; INSERT INTO items VALUES (900, 1, 'x')")
        .await;
    late.until("the row", |rows| rows.len() == 201).await;
    world.server.kill().await;
    world.drop_slot().await;
    // The rows are again what the older copy holds: it has nothing to tell the early client.
    world.sql("UPDATE items SET n = 1 WHERE id = 1; DELETE FROM items WHERE id = 900").await;
    fs::remove_dir_all(&storage).unwrap();
    copy_dir(&copy, &storage);
    world.server.restart().await;
    world.sql("INSERT INTO items VALUES (901, 1, 'y')").await;
    world.compare_all(std::slice::from_mut(&mut early)).await;
    assert_eq!(early.refetches, 0, "it knows nothing that the copy does not");
    world.compare_all(std::slice::from_mut(&mut late)).await;
    assert_eq!(late.refetches, 1, "it was answered by a server that had more");

    // A slot that is ahead of the copy says itself that it is one.
    world.server.kill().await;
    fs::remove_dir_all(&storage).unwrap();
    copy_dir(&copy, &storage);
    world.server.restart().await;
    let mut early = early.through_refetches();
    world.compare_all(std::slice::from_mut(&mut early)).await;
    assert_eq!(early.refetches, 1, "its directory is an older copy");
    world.verify_all(1).await;
}

/// A process may be killed when the slot of a new epoch is made and the epoch is not: the old one could go on from there,
/// over what came before.
#[tokio::test]
async fn an_epoch_that_was_given_up_is_not_gone_on_with() {
    let mut world = World::new().await;
    world.sql(ITEMS).await;
    let mut follower = world.follow(Shape::of("items")).await.through_refetches();
    world.server.kill().await;
    let path = world.server.storage().join("brooklet/meta.json");
    let mut meta: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(meta["over"], false, "{meta}");
    meta["over"] = true.into();
    fs::write(&path, meta.to_string()).unwrap();
    world.server.restart().await;
    world.sql("INSERT INTO items VALUES (901, 1, 'y')").await;
    world.compare_all(std::slice::from_mut(&mut follower)).await;
    assert_eq!(follower.refetches, 1);
    let begun: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(begun["over"], false, "{begun}");
    assert_ne!(begun["epoch"], meta["epoch"]);
    world.verify_all(1).await;
}

/// Later losses do not make forgotten what an earlier one has left unknown.
#[tokio::test]
async fn whoever_knows_more_than_an_older_copy_is_noticed_after_further_losses() {
    let mut world = World::new().await;
    world.sql(ITEMS).await;
    let early = world.follow(Shape::of("items")).await;
    world.server.stop().await;
    let storage = world.server.storage().to_owned();
    let copy = storage.with_extension("copy");
    copy_dir(&storage, &copy);
    world.server.restart().await;
    let mut late = world.follow(Shape::of("items")).await;
    world.sql("INSERT INTO items VALUES (900, 1, 'it goes unseen')").await;
    late.until("the row", |rows| rows.len() == 201).await;
    world.server.kill().await;
    world.drop_slot().await;
    world.sql("DELETE FROM items WHERE id = 900").await;
    fs::remove_dir_all(&storage).unwrap();
    copy_dir(&copy, &storage);
    world.server.restart().await;
    let mut early = early.through_outages();
    for (round, crash) in [(1, false), (2, true), (3, false)] {
        world.sql(&format!("INSERT INTO items VALUES (1000 + {round}, 1, 'seen')")).await;
        let rows = 200 + round;
        early.until("the row", |all| all.len() == rows).await;
        if crash {
            world.server.crash().await;
        } else {
            let before = world.server.logs().matches(STREAM_GOES_ON).count();
            world.drop_slot().await;
            world.sql(&format!("UPDATE items SET n = {round} WHERE id = 5")).await;
            repaired(&world, before + 1).await;
        }
    }
    let mut late = late.through_refetches();
    world.compare_all(std::slice::from_mut(&mut late)).await;
    assert_eq!(late.refetches, 1, "it was answered by a server that had more");
    world.compare_all(std::slice::from_mut(&mut early)).await;
    assert_eq!(early.refetches, 0, "it knows nothing that the copy does not");
    world.verify_all(1).await;
}

/// The same server, slot, timeline: only where its WAL ends says that it knows less than we have served.
#[tokio::test]
async fn an_older_copy_of_the_database_is_noticed() {
    let cluster = Arc::new(Cluster::own(Locale::CUtf8, &[]));
    let mut world = World::with(Database::create(Arc::clone(&cluster)).await, |_| {}).await;
    world.sql(ITEMS).await;
    let items = world.follow(Shape::of("items")).await;
    let mut items = items.through_outages().through_refetches();
    world.db.confirms(world.mark().await).await;
    cluster.stop("INT");
    cluster.keep_copy();
    cluster.start();
    world.db.reconnect().await;
    world.sql("DELETE FROM items WHERE id > 100; UPDATE items SET n = 1000").await;
    items.until_count(100).await;
    world.db.confirms(world.mark().await).await;
    cluster.stop("INT");
    cluster.restore_copy();
    cluster.start();
    world.db.reconnect().await;
    world.sql("INSERT INTO items VALUES (900, 1, 'x')").await;
    items.until("the row", |rows| rows.len() == 201).await;
    world.compare_all(std::slice::from_mut(&mut items)).await;
    assert!(items.refetches > 0, "it held what never was");
    world.verify_all(1).await;
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "cp: {copied}");
}
