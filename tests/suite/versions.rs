//! Files that another version of the product wrote: refused by name with a way out, and left as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Process, Shape, World};

/// Every file below, with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// The same file as another version would have written it; `None` for one without a version.
fn of_another_version(path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
    if path.ends_with("meta.json") {
        let mut meta: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        meta["format"] = (meta["format"].as_u64().unwrap() + 1).into();
        return Some(serde_json::to_vec(&meta).unwrap());
    }
    let mut bytes = bytes.strip_prefix(b"BROOKLET").map(|_| bytes.to_vec())?;
    bytes[8] += 1;
    Some(bytes)
}

#[tokio::test]
async fn a_file_of_another_version_is_refused_with_a_way_out_and_nothing_is_deleted() {
    let mut world = World::new().await;
    world.sql("CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE owners (n int PRIMARY KEY)").await;
    world.sql("INSERT INTO items SELECT g, g % 10 FROM generate_series(1, 100) g; INSERT INTO owners VALUES (3)").await;
    let mut followers = Vec::new();
    for filter in ["id > 10", "n IN (SELECT n FROM owners)"] {
        followers.push(world.follow(Shape::of("items").filter(filter)).await);
    }
    world.sql("UPDATE items SET n = n + 1; INSERT INTO owners VALUES (4)").await;
    world.compare_all(&mut followers).await;
    world.server.stop().await;
    let dir = world.server.storage().join("brooklet");
    let mut refused = BTreeSet::new();
    for (path, bytes) in files(&dir) {
        let Some(other) = of_another_version(&path, &bytes) else { continue };
        // What is only kept to be quick is made anew, and the catalogue stands for its packs.
        if path.ends_with("kept.rows") || path.extension().is_some_and(|it| it == "pack") {
            continue;
        }
        std::fs::write(&path, &other).unwrap();
        let before = files(&dir);
        let mut process = Process::spawn(&mut world.server.options.command());
        let status = process.exit(Duration::from_secs(30)).await;
        let said = process.output();
        assert!(!status.success(), "{} is taken for one of ours: {said}", path.display());
        // That of the directory itself is named by it.
        let name = if path.ends_with("meta.json") { &dir } else { &path };
        for part in [&*name.display().to_string(), "version of Brooklet", "empty storage directory"]
        {
            assert!(said.contains(part), "no '{part}' for {}: {said}", path.display());
        }
        let after = files(&dir);
        assert!(before.keys().eq(after.keys()), "{:?} became {:?}", before.keys(), after.keys());
        assert!(after[&path] == other, "{} was written", path.display());
        std::fs::write(&path, &bytes).unwrap();
        let kind = path.strip_prefix(&dir).unwrap().components().nth(1);
        refused.insert(kind.map_or("meta.json".into(), |kind| kind.as_os_str().to_owned()));
    }
    let kinds = ["catalog.log", "changes", "members", "meta.json", "postings"];
    assert!(refused.iter().eq(&kinds), "{refused:?}");
    world.server.restart().await;
    for follower in &mut followers {
        assert_eq!(follower.refetches, 0);
    }
    world.compare_all(&mut followers).await;
    world.verify_all(2).await;
}
