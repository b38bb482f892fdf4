//! Which directory a core works in, and whether what is there can be continued.
//!
//! *Enters*: the database as it is found, the directory as it was left. *Leaves*: an open change log.
//! *Invariant*: an epoch's positions all belong to one history of one cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use brooklet_sql::Lsn;
use serde::{Deserialize, Serialize};

use crate::change_log::{ChangeLog, StoredCommit, Writer};
use crate::config::Settings;
use crate::frame::sync_dir;
use crate::replication::preflight::Server;
use crate::replication::session::{self, Cluster};
use crate::replication::slot::{self, Names, SlotState};
use crate::replication::{Database, preflight};
use crate::shapes::visibility::Visibility;
use crate::storage::{Storage, StorageHandle, make_dir};

/// What a storage directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u16,
    epoch: u64,
    cluster: Cluster,
    database: String,
    slot: String,
    publication: u32,
    /// The last loss of the slot, if there was one.
    #[serde(default)]
    repair: RepairState,
    /// Which adding to the publication the shapes of a table stand for.
    #[serde(default)]
    published: BTreeMap<u32, u32>,
    /// It is given up, and another epoch about to be begun. Noted before a slot is made, which this one could go on from.
    #[serde(default)]
    over: bool,
}

/// What every version of it has.
#[derive(Deserialize)]
struct Format {
    format: u16,
}

/// What is known on disk of the last loss of the slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RepairState {
    /// Where what was missed stands in the log: nothing up to there is told to the dataflow again.
    at: Lsn,
    /// The same of the losses before it, the oldest first; also of repairs that were cut off when the log had them.
    #[serde(default)]
    earlier: Vec<Lsn>,
    /// The history up to here did not go on: the database moved to another timeline.
    #[serde(default)]
    moved: Lsn,
    /// Whether that is still to be done, or to be done again. Noted before a slot is made: one that
    /// is found then begins behind what was missed.
    due: bool,
    /// What was true at the end of each repair, the newest last.
    #[serde(default)]
    seen: Vec<RepairSeen>,
}

/// What shapes hold that have the entries of a repair: their logs say so behind those, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairSeen {
    /// Where the repair stands in the log.
    pub at: Lsn,
    /// The transactions that they contain.
    pub visibility: Visibility,
}

/// What the storage directory says of itself; written whenever it changes.
pub struct MetaFile {
    storage: StorageHandle,
    path: PathBuf,
    meta: Mutex<Meta>,
}

/// A directory to work in, and where its log ends.
pub struct Epoch {
    /// Where files are kept.
    pub storage: StorageHandle,
    /// Whose history it is.
    pub cluster: Cluster,
    /// The publication's oid.
    pub publication: u32,
    /// The epoch's own directory.
    pub dir: PathBuf,
    /// The change log, for readers.
    pub log: ChangeLog,
    /// Its one writer.
    pub writer: Writer,
    /// Every commit it holds.
    pub commits: Vec<StoredCommit>,
    /// Where repairs are noted.
    pub meta: MetaFile,
    /// Why the stream cannot go on before a repair, if so.
    pub lost: Option<String>,
}

/// Checks the database; opens the epoch that can be continued from its slot, or begins one.
pub async fn open(
    storage: &StorageHandle,
    settings: &Settings,
    database: &Database,
    names: &Names,
    anew: bool,
) -> anyhow::Result<Epoch> {
    let (client, server) = preflight::server(database).await?;
    let known = read_meta(&**storage, settings)?;
    let anew = anew || known.as_ref().is_some_and(|known| known.over);
    // The slot of a repair that was cut off may still wait to be made: the repair sees to it.
    if anew || !known.as_ref().is_some_and(|known| known.repair.due) {
        preflight::slot_is_free(&client, &names.slot).await?;
    }
    let publication = slot::publication(&client, &server, &names.publication).await?;
    let cluster = session::identify(database.replication(&names.slot, &names.publication)).await?;
    let state = slot::state(&client, &server, &names.slot).await?;
    let found = Found { cluster, server, state, publication };
    if let Some(known) = &known
        && !anew
        && let Some(epoch) = found.continued(storage, settings, names, known)?
    {
        return Ok(epoch);
    }
    if let Some(known) = known.clone() {
        MetaFile::new(storage, settings, known).change(|meta| meta.over = true)?;
    }
    let begin = slot::recreate(database, &client, &names.slot).await?;
    let number = known.map_or(1, |known| known.epoch + 1);
    let dir = epoch_dir(&settings.dir, number);
    if storage.exists(&dir)? {
        storage.remove_dir_all(&dir)?;
    }
    begin_dir(&**storage, &dir)?;
    let (log, mut writer, commits) = ChangeLog::open(storage, &dir.join("changes"))?;
    writer.position(begin);
    writer.sync()?;
    let meta = Meta {
        format: crate::frame::VERSION,
        epoch: number,
        cluster: found.cluster.clone(),
        database: found.server.database_name,
        slot: names.slot.clone(),
        publication,
        repair: RepairState::default(),
        published: BTreeMap::new(),
        over: false,
    };
    let meta = MetaFile::new(storage, settings, meta);
    meta.change(|_| {})?;
    remove_other_epochs(&**storage, &settings.dir, &dir);
    let (storage, cluster) = (Arc::clone(storage), found.cluster);
    Ok(Epoch { storage, cluster, publication, dir, log, writer, commits, meta, lost: None })
}

/// The database as it is found.
struct Found {
    cluster: Cluster,
    server: Server,
    state: SlotState,
    publication: u32,
}

impl Found {
    /// The known epoch, if it belongs to this database and the slot can continue it, or what was
    /// missed can be found out. Not where the slot is ahead of us: this may be an older copy of a
    /// directory, and clients may know more than it does.
    fn continued(
        &self,
        storage: &StorageHandle,
        settings: &Settings,
        names: &Names,
        known: &Meta,
    ) -> anyhow::Result<Option<Epoch>> {
        let same = known.cluster.system_id == self.cluster.system_id
            && known.database == self.server.database_name
            && known.slot == names.slot
            && known.publication == self.publication;
        let dir = epoch_dir(&settings.dir, known.epoch);
        // Also makes the names durable that a process left which was killed just after it began.
        begin_dir(&**storage, &dir)?;
        let (log, writer, commits) = ChangeLog::open(storage, &dir.join("changes"))?;
        let lost = match self.state {
            _ if known.repair.due => Some("it was not yet known what was missed".to_owned()),
            _ if known.cluster != self.cluster => {
                Some(format!("the database is on timeline {} now", self.cluster.timeline))
            }
            SlotState::Missing => Some("the slot is gone".to_owned()),
            SlotState::Lost => Some("the slot's WAL is gone".to_owned()),
            SlotState::At(_) => None,
        };
        let continues = matches!(self.state, SlotState::At(at) if at <= writer.end());
        if !same || (lost.is_none() && !continues) {
            tracing::warn!(
                slot = names.slot, state = ?self.state, held = %writer.end(), same_database = same,
                "what is stored cannot be continued from this slot: starting over, clients fetch anew"
            );
            return Ok(None);
        }
        let (cluster, publication) = (self.cluster.clone(), self.publication);
        let meta = MetaFile::new(storage, settings, known.clone());
        let storage = Arc::clone(storage);
        Ok(Some(Epoch { storage, cluster, publication, dir, log, writer, commits, meta, lost }))
    }
}

impl MetaFile {
    fn new(storage: &StorageHandle, settings: &Settings, meta: Meta) -> MetaFile {
        let path = settings.dir.join("meta.json");
        MetaFile { storage: Arc::clone(storage), path, meta: Mutex::new(meta) }
    }

    /// Where repairs stand in the log, which ends at `end`, the newest last. Not those that were cut off before they
    /// were there: nothing may be taken to stand where no log will ever be.
    #[must_use]
    pub fn repairs(&self, end: Lsn) -> Vec<Lsn> {
        let meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let all = meta.repair.earlier.iter().copied().chain([meta.repair.at]);
        all.filter(|at| *at != Lsn::ZERO && *at < end).collect()
    }

    /// Where the last one stands; at the very beginning, if there was none.
    #[must_use]
    pub fn repaired(&self, end: Lsn) -> Lsn {
        self.repairs(end).last().copied().unwrap_or_default()
    }

    /// Transactions before this place are of a history that did not go on: their ids may be given
    /// again.
    #[must_use]
    pub fn moved(&self) -> Lsn {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).repair.moved
    }

    /// A repair is due: on disk when it returns.
    pub fn repair_due(&self) -> anyhow::Result<()> {
        self.change(|meta| meta.repair.due = true)
    }

    /// What each repair brought shapes to.
    #[must_use]
    pub fn seen(&self) -> Vec<RepairSeen> {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).repair.seen.clone()
    }

    /// It is going to bring shapes what makes them contain this.
    pub fn repair_seen(&self, seen: RepairSeen) -> anyhow::Result<()> {
        self.change(|meta| meta.repair.seen.push(seen))
    }

    /// It is going to stand at `at`, in the history of `cluster`, behind the log, which ends at `end`. What was noted
    /// of tries that the log has nothing of goes: a repair that fails is tried again every few seconds.
    pub fn repair_at(&self, at: Lsn, end: Lsn, cluster: &Cluster) -> anyhow::Result<()> {
        self.change(|meta| {
            let repair = &mut meta.repair;
            repair.earlier.push(std::mem::replace(&mut repair.at, at));
            repair.earlier.retain(|earlier| *earlier != Lsn::ZERO && *earlier < end);
            repair.seen.retain(|seen| seen.at < end);
            if meta.cluster != *cluster {
                repair.moved = at;
            }
            meta.cluster = cluster.clone();
        })
    }

    /// It is done.
    pub fn repair_done(&self) -> anyhow::Result<()> {
        self.change(|meta| meta.repair.due = false)
    }

    /// Which adding to the publication the shapes of each table stand for, if that is known.
    #[must_use]
    pub fn published(&self) -> BTreeMap<u32, u32> {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).published.clone()
    }

    /// From now on they stand for this one: on disk when it returns. What cannot be written is noticed when
    /// shapes are, so it is only logged.
    pub fn note_published(&self, table: u32, membership: u32) {
        if self.published().get(&table) == Some(&membership) {
            return;
        }
        let noted = self.change(|meta| _ = meta.published.insert(table, membership));
        if let Err(error) = noted {
            tracing::error!(%error, table, "how a table is published cannot be noted");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Meta)) -> anyhow::Result<()> {
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = meta.clone();
        change(&mut changed);
        write_meta(&*self.storage, &self.path, &changed)?;
        // What could not be written is tried again, and not taken for noted.
        *meta = changed;
        Ok(())
    }
}

fn read_meta(storage: &dyn Storage, settings: &Settings) -> anyhow::Result<Option<Meta>> {
    let path = settings.dir.join("meta.json");
    if !storage.exists(&path)? {
        return Ok(None);
    }
    let file = storage.open(&path)?;
    let mut bytes = vec![0; usize::try_from(file.length()?)?];
    file.read_exact_at(&mut bytes, 0)?;
    let dir = settings.dir.display();
    let unread = || {
        format!(
            "{} does not read as ours: use an empty storage directory, or a copy",
            path.display()
        )
    };
    // Alone, since another version may have other fields.
    let Format { format } = serde_json::from_slice(&bytes).with_context(unread)?;
    anyhow::ensure!(
        format == crate::frame::VERSION,
        "{dir} was written by another version of Brooklet: use that one, or an empty storage directory"
    );
    Ok(Some(serde_json::from_slice(&bytes).with_context(unread)?))
}

/// The directory of an epoch, there and durable; the error names it.
pub(crate) fn begin_dir(storage: &dyn Storage, dir: &Path) -> anyhow::Result<()> {
    make_dir(storage, dir).with_context(|| dir.display().to_string())
}

fn epoch_dir(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("epoch-{epoch}"))
}

fn write_meta(storage: &dyn Storage, path: &Path, meta: &Meta) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    if storage.exists(&temporary)? {
        storage.remove(&temporary)?;
    }
    let file = storage.create_new(&temporary)?;
    file.write_all_at(&serde_json::to_vec_pretty(meta)?, 0)?;
    file.sync_all()?;
    storage.rename(&temporary, path)?;
    Ok(sync_dir(storage, path)?)
}

/// Best effort: an old epoch costs disk, nothing else.
fn remove_other_epochs(storage: &dyn Storage, dir: &Path, keep: &Path) {
    let Ok(entries) = storage.list(dir) else { return };
    for path in entries {
        let named =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("epoch-"));
        if named && path != keep {
            _ = storage.remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Directory;

    fn cluster(timeline: u32) -> Cluster {
        Cluster { system_id: "1".to_owned(), timeline }
    }

    fn file(dir: &Path) -> MetaFile {
        let meta = Meta {
            format: crate::frame::VERSION,
            epoch: 1,
            cluster: cluster(1),
            database: "d".to_owned(),
            slot: "s".to_owned(),
            publication: 7,
            repair: RepairState::default(),
            published: BTreeMap::new(),
            over: false,
        };
        let storage: StorageHandle = Arc::new(Directory);
        MetaFile { storage, path: dir.join("meta.json"), meta: Mutex::new(meta) }
    }

    #[test]
    fn what_could_not_be_written_is_not_taken_for_noted() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let file = file(&missing);
        file.note_published(5, 6);
        assert!(file.published().is_empty());
        std::fs::create_dir(&missing).unwrap();
        file.note_published(5, 6);
        let written = std::fs::read(missing.join("meta.json")).unwrap();
        let written: Meta = serde_json::from_slice(&written).unwrap();
        assert_eq!(written.published, file.published());
        assert_eq!(written.published, BTreeMap::from([(5, 6)]));
    }

    #[test]
    fn tries_of_which_the_log_has_nothing_are_not_noted_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path());
        let seen = |at| RepairSeen { at, visibility: "1:1:".parse().unwrap() };
        let repair = |at: u64, end: u64| {
            file.repair_at(Lsn(at), Lsn(end), &cluster(1)).unwrap();
            file.repair_seen(seen(Lsn(at))).unwrap();
        };
        repair(100, 50);
        // That one was done, and the log went on to 200.
        for at in 300..400 {
            repair(at, 200);
        }
        assert_eq!(file.meta.lock().unwrap().repair.earlier, [Lsn(100)]);
        assert_eq!(file.seen(), [seen(Lsn(100)), seen(Lsn(399))]);
        assert_eq!(file.repairs(Lsn(200)), [Lsn(100)]);
        // The last of them was done; another one is.
        repair(600, 500);
        assert_eq!(file.repairs(Lsn(700)), [Lsn(100), Lsn(399), Lsn(600)]);
        assert_eq!(file.seen(), [100, 399, 600].map(|at| seen(Lsn(at))));
        assert_eq!(file.moved(), Lsn::ZERO);
        file.repair_at(Lsn(900), Lsn(800), &cluster(2)).unwrap();
        assert_eq!(file.moved(), Lsn(900));
    }
}
