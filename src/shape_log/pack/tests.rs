//! What is stored comes back, and what nobody needs goes.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_util::poll;

use super::*;
use crate::shape_log::Gathered;
use crate::storage::{Directory, StorageFile};

fn batch(names: &[&str], rows: &[Row]) -> RecordBatch {
    let mut gathered = Gathered::new(names.iter().copied());
    rows.iter().for_each(|row| gathered.push(|place| row.get(place)).unwrap());
    gathered.take().unwrap()
}

#[tokio::test]
async fn rows_come_back_and_unused_packs_go() {
    let (dir, storage) = (tempfile::tempdir().unwrap(), Directory::handle());
    let rows = [Row::new([Some("1"), None]).unwrap(), Row::new([Some(""), Some("süd")]).unwrap()];
    let store = PackStore::open(&storage, dir.path(), []).unwrap();
    let place = store.append(ShapeId(1), 0, 0, &batch(&["id", "body"], &rows)).unwrap();
    assert_eq!(store.read(&place).unwrap(), rows);
    store.sync().await.unwrap();
    let store = PackStore::open(&storage, dir.path(), [&place]).unwrap();
    assert_eq!(store.read(&place).unwrap(), rows);
    let store = PackStore::open(&storage, dir.path(), []).unwrap();
    assert!(store.read(&place).is_err());
}

#[tokio::test]
async fn what_a_snapshot_left_that_came_to_nothing_goes_although_others_share_the_pack() {
    let (dir, storage) = (tempfile::tempdir().unwrap(), Directory::handle());
    let store = PackStore::open(&storage, dir.path(), []).unwrap();
    let row = |id: &str| [Row::new([Some(id), None]).unwrap()];
    let append =
        |shape, id| store.append(ShapeId(shape), 0, 0, &batch(&["id", "body"], &row(id))).unwrap();
    let (rows, kept) = (row("1"), append(1, "1"));
    let alone = store.bytes();
    let lost: Vec<BatchPlace> = ["2", "3"].map(|id| append(2, id)).into();
    assert!(lost.iter().all(|place| place.pack() == kept.pack()), "of one pack");
    store.release(&lost[..1]);
    assert!(store.sparse().is_empty(), "as much is alive");
    store.release(&lost[1..]);
    assert_eq!(store.sparse(), HashSet::from([kept.pack()]));
    let moved = store.copy(ShapeId(1), &kept).unwrap();
    store.release(&[kept]);
    assert_eq!((store.read(&moved).unwrap(), store.bytes()), (rows.to_vec(), alone));
}

#[tokio::test]
async fn a_pack_that_could_not_be_begun_is_another_one_the_next_time() {
    let (dir, storage) = (tempfile::tempdir().unwrap(), Directory::handle());
    let store = PackStore::open(&storage, dir.path(), []).unwrap();
    let rows = [Row::new([Some("1"), None]).unwrap()];
    let append = || store.append(ShapeId(1), 0, 0, &batch(&["id", "body"], &rows));
    // What is left of one whose head found no room.
    let next = store.packs().next;
    std::fs::write(path(dir.path(), next), []).unwrap();
    assert!(append().is_err());
    let place = append().unwrap();
    assert_eq!((place.pack(), store.read(&place).unwrap()), (next + 1, rows.to_vec()));
    store.sync().await.unwrap();
    let store = PackStore::open(&storage, dir.path(), [&place]).unwrap();
    assert_eq!(store.read(&place).unwrap(), rows);
    assert!(!path(dir.path(), next).exists());
}

/// A store with the same batch for two shapes, and their places.
fn equal_batches(dir: &Path) -> (PackStore, Vec<Row>, [BatchPlace; 2]) {
    let store = PackStore::open(&Directory::handle(), dir, []).unwrap();
    let rows = [Some("a row that many shapes show"), None];
    let rows: Vec<Row> = rows.map(|value| Row::new([value, Some("1")]).unwrap()).into();
    let append = |shape| {
        store.append(ShapeId(shape), shape as u32, 0, &batch(&["body", "id"], &rows)).unwrap()
    };
    let places = [append(1), append(2)];
    (store, rows, places)
}

#[test]
fn equal_batches_are_stored_once_and_go_with_the_last_that_refers_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rows, [first, second]) = equal_batches(dir.path());
    assert_eq!((first.pack, first.at), (second.pack, second.at));
    assert_eq!((first.chunk, second.chunk), (1, 2), "each shape has chunks of its own");
    assert_eq!(store.share(&[first]), first.length / 2);
    assert_eq!(store.share(&[first, second]), first.length / 2 * 2);
    let other = store.append(ShapeId(3), 0, 0, &batch(&["body", "no"], &rows)).unwrap();
    assert_ne!(other.at, first.at, "other columns");
    store.release(&[other, first]);
    assert_eq!(store.read(&second).unwrap(), rows);
    store.release(&[second]);
    assert!(store.read(&second).is_err());
    assert_eq!(store.bytes(), 0);
}

#[tokio::test]
async fn after_a_restart_a_batch_of_two_shapes_counts_once_and_goes_with_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rows, [first, second]) = equal_batches(dir.path());
    store.sync().await.unwrap();
    let store = PackStore::open(&Directory::handle(), dir.path(), [&first, &second]).unwrap();
    assert_eq!(store.packs().live[&first.pack], first.length);
    store.release(&[first]);
    assert_eq!(store.read(&second).unwrap(), rows);
    store.release(&[second]);
    assert_eq!(store.bytes(), 0);
}

#[test]
fn what_two_shapes_share_is_moved_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rows, [first, second]) = equal_batches(dir.path());
    // The pack that is being written is another one.
    store.packs().current = None;
    let moved = store.copy(ShapeId(1), &first).unwrap();
    assert_ne!(moved.pack, first.pack);
    let also = store.copy(ShapeId(2), &second).unwrap();
    assert_eq!((moved.pack, moved.at), (also.pack, also.at));
    store.release(&[first, second]);
    assert_eq!(store.packs().files.len(), 1, "the old pack is gone");
    assert_eq!(store.read(&also).unwrap(), rows);
    // What is stored now finds the new place.
    let later = store.append(ShapeId(3), 0, 0, &batch(&["body", "id"], &rows)).unwrap();
    assert_eq!((later.pack, later.at), (moved.pack, moved.at));
}

#[test]
fn bytes_of_the_same_length_and_checksum_are_not_taken_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = PackStore::open(&Directory::handle(), dir.path(), []).unwrap();
    let bytes = vec![7; 1 << 10];
    let mut other = bytes.clone();
    // A multiple of the CRC's polynomial, lowest bit of a byte first, changes nothing of it.
    let polynomial = 1_u64 << 32 | 0x04C1_1DB7;
    (0..33).for_each(|bit| {
        other[100 + bit / 8] ^= ((polynomial >> (32 - bit) & 1) as u8) << (bit % 8)
    });
    assert_eq!(crc32fast::hash(&bytes), crc32fast::hash(&other));
    let head = [0; BATCH_HEAD as usize];
    let place = store.store(0, &head, &bytes, None).unwrap();
    let of_other = store.store(0, &head, &other, None).unwrap();
    assert_eq!(store.bytes_of(&place).unwrap(), bytes);
    assert_eq!(store.bytes_of(&of_other).unwrap(), other);
    store.release(&[place]);
    assert_eq!(store.bytes_of(&of_other).unwrap(), other);
}

/// The first sync waits until somebody lets it.
struct Slow {
    file: FileHandle,
    begun: Sender<()>,
    gate: Mutex<Option<Receiver<()>>>,
}

impl StorageFile for Slow {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.begun.send(()).unwrap();
        let gate = self.gate.lock().unwrap().take();
        gate.iter().for_each(|gate| _ = gate.recv());
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[tokio::test]
async fn a_sync_whose_asker_has_left_is_not_taken_for_done() {
    let (dir, storage) = (tempfile::tempdir().unwrap(), Directory::handle());
    let store = PackStore::open(&storage, dir.path(), []).unwrap();
    let rows = [Row::new([Some("1")]).unwrap()];
    let place = store.append(ShapeId(1), 0, 0, &batch(&["id"], &rows)).unwrap();
    let ((begun, begins), (open, gate)) = (channel(), channel());
    let file = Arc::clone(&store.packs().files[&place.pack()]);
    let slow = Slow { file, begun, gate: Mutex::new(Some(gate)) };
    store.packs().files.insert(place.pack(), Arc::new(slow));
    let mut asking = Box::pin(store.sync());
    assert!(poll!(&mut asking).is_pending());
    begins.recv().unwrap();
    drop(asking);
    store.sync().await.unwrap();
    assert!(begins.try_recv().is_ok(), "nothing was synced, and the first one is still at work");
    // Nothing is left to do.
    store.sync().await.unwrap();
    assert!(begins.try_recv().is_err());
    open.send(()).unwrap();
}
