//! Frames that were cut, flipped, or have zeros behind them.

use super::*;
use crate::storage::Directory;

fn frames(path: &Path, tail: Tail) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
    let mut found = Vec::new();
    FrameFile::open(&Directory::handle(), path, FileKind::Changes, tail, |f| {
        found.push((f.kind, f.payload.to_vec()))
    })?;
    Ok(found)
}

#[test]
fn every_cut_leaves_a_prefix_of_whole_frames() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut file = FrameFile::create(&Directory::handle(), &path, FileKind::Changes).unwrap();
    file.append(1, &[b"one", b"two"]);
    file.append(2, &[&[7; 300]]);
    file.append(3, &[]);
    file.sync().unwrap();
    let all = frames(&path, Tail::Closed).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], (1, b"onetwo".to_vec()));
    let bytes = std::fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let found = frames(&path, Tail::Newest).unwrap();
        assert_eq!(found, all[..found.len()]);
        // What was cut is gone: the file can be appended to and read again.
        assert_eq!(frames(&path, Tail::Closed).unwrap(), found);
    }
}

#[test]
fn zeros_behind_the_frames_are_none_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let file = FrameFile::create(&Directory::handle(), &path, FileKind::Changes).unwrap();
    let mut file = file.ahead(100);
    let length = || std::fs::metadata(&path).unwrap().len();
    let mut lengths = std::collections::BTreeSet::new();
    for n in 0..20u8 {
        file.append(1, &[&[n; 11]]);
        file.sync().unwrap();
        lengths.insert(length());
    }
    // A frame is of 20 bytes: five fit into the zeros.
    assert!(lengths.len() == 4 && length() > file.end(), "{lengths:?}, {}", file.end());
    let end = file.end();
    let all = frames(&path, Tail::Newest).unwrap();
    assert_eq!(all, (0..20).map(|n| (1, vec![n; 11])).collect::<Vec<_>>());
    assert_eq!(length(), end, "cut");
    assert_eq!(frames(&path, Tail::Closed).unwrap(), all);
}

#[test]
fn a_flipped_bit_is_torn_at_the_end_and_damage_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut file = FrameFile::create(&Directory::handle(), &path, FileKind::Changes).unwrap();
    file.append(1, &[b"payload"]);
    file.sync().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(frames(&path, Tail::Closed), Err(FrameError::Damaged(_, FILE_HEAD))));
    assert_eq!(frames(&path, Tail::Newest).unwrap(), []);
    std::fs::write(&path, b"something else entirely").unwrap();
    assert!(matches!(frames(&path, Tail::Newest), Err(FrameError::Foreign(_))));
}
