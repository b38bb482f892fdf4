//! Sealing and cleaning on a disk that fails: what is live can be read, then and after every restart.

use super::*;
use crate::storage::tests::faulty::{Fault, Faulty};
use crate::storage::tests::rng::Rng;

const DIR: &str = "/changes";

/// A log, what was written to it, and what of that is needed.
struct World {
    rng: Rng,
    disk: Faulty,
    log: ChangeLog,
    writer: Writer,
    unsealed: Vec<Rolled>,
    written: Vec<Change>,
    live: Vec<u64>,
    transactions: u64,
}

/// What a run has come by.
#[derive(Debug, Default)]
struct Tally {
    faults: usize,
    merged: usize,
    deleted: usize,
    restarts: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let disk = Faulty::new(rng.fork());
        let (log, mut writer, _) = ChangeLog::open(&disk.handle(), Path::new(DIR)).unwrap();
        writer.append_relation(&relation(1));
        writer.append_relation(&relation(2));
        let (unsealed, written, live) = (Vec::new(), Vec::new(), Vec::new());
        World { rng, disk, log, writer, unsealed, written, live, transactions: 0 }
    }

    /// A file of one or two transactions is complete.
    fn write(&mut self) {
        for _ in 0..1 + self.rng.below(2) {
            self.transactions += 1;
            let changes = write(&mut self.writer, self.transactions);
            self.live.extend(changes.iter().map(|change| change.seq));
            self.written.extend(changes);
        }
        self.unsealed.push(self.writer.roll().unwrap());
    }

    /// What stays row-wise is tried again.
    fn seal(&mut self) {
        let (log, rng) = (&self.log, &mut self.rng);
        self.unsealed.retain(|rolled| rng.percent(10) || log.seal(rolled).is_err());
    }

    fn forget(&mut self) {
        if self.rng.percent(60) {
            return;
        }
        let (all, gone) = (self.rng.percent(30), self.rng.below(1 + self.written.len()) as u64);
        let rng = &mut self.rng;
        self.live.retain(|seq| !(gone..gone + 9).contains(seq) || !(all || rng.percent(50)));
    }

    fn lsn(&self, seq: u64) -> Lsn {
        // Three changes each.
        Lsn(100 * (seq / 3 + 1))
    }

    /// As it is done for shapes: what is live is known of each file by the transactions.
    fn clean(&mut self, tally: &mut Tally) {
        let files = self.log.sealed();
        let (mut before, mut runs) = (Lsn::ZERO, vec![Vec::new()]);
        for file in &files {
            let mut lsns = self.live.iter().map(|seq| self.lsn(*seq));
            if !lsns.any(|lsn| before < lsn && lsn <= file.last_lsn) {
                tally.deleted += usize::from(self.log.delete(file.first_seq).is_ok());
            } else if self.rng.percent(15) {
                runs.push(Vec::new());
            } else if let Some(run) = runs.last_mut() {
                run.push(*file);
            }
            before = file.last_lsn;
        }
        for run in runs {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let files = self.log.sealed();
            let before = files.iter().rfind(|file| file.last_lsn < first.last_lsn);
            let after = before.map_or(Lsn::ZERO, |file| file.last_lsn);
            let mut live = self.live.clone();
            live.retain(|seq| after < self.lsn(*seq) && self.lsn(*seq) <= last.last_lsn);
            let names: Vec<u64> = run.iter().map(|file| file.first_seq).collect();
            let done = self.log.rewrite(&names, &live).is_ok();
            tally.merged += usize::from(done && names.len() > 1);
        }
    }

    fn check(&self, seed: u64) {
        for seq in &self.live {
            let change = &self.written[*seq as usize];
            let found = self.log.read(*seq, change.table);
            assert_eq!(found.as_ref().ok(), Some(change), "{seed}: {seq}: {found:?}");
        }
    }

    fn restart(&mut self, power_cut: bool) {
        self.disk = self.disk.restart(power_cut);
        // Starting may be interrupted, too.
        if self.rng.percent(30) {
            let fault = [Fault::Kill, Fault::PowerCut, Fault::RemoveFails, Fault::SyncFails];
            let fault = fault[self.rng.below(fault.len())];
            self.disk.arm(fault, self.rng.below(4) as u64);
            _ = ChangeLog::open(&self.disk.handle(), Path::new(DIR));
            self.disk = self.disk.restart(fault != Fault::Kill);
        }
        self.open();
    }

    fn open(&mut self) {
        let (log, writer, commits) = ChangeLog::open(&self.disk.handle(), Path::new(DIR)).unwrap();
        self.unsealed = log.unsealed(&commits);
        assert_eq!(writer.last_commit(), Lsn(100 * self.transactions));
        assert_eq!(writer.next_seq(), self.written.len() as u64);
        (self.log, self.writer) = (log, writer);
    }
}

#[test]
fn whatever_fails_while_files_are_sealed_and_cleaned_what_is_live_is_read_then_and_later() {
    let faults = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::SyncFails,
        Fault::NoSpace,
        Fault::ReadFails,
        Fault::RemoveFails,
    ];
    let mut tally = Tally::default();
    for seed in 0..80 {
        let mut world = World::new(seed);
        for _ in 0..12 {
            (0..1 + world.rng.below(5)).for_each(|_| world.write());
            world.forget();
            let fault = faults[world.rng.below(faults.len())];
            world.disk.arm(fault, world.rng.below(40) as u64);
            for _ in 0..1 + world.rng.below(3) {
                world.seal();
                world.forget();
                world.clean(&mut tally);
            }
            tally.faults += usize::from(world.disk.hit().is_some());
            let ended = matches!(world.disk.hit(), Some(Fault::Kill | Fault::PowerCut));
            // Until a restart, whether anybody has noticed or not.
            let full = fault == Fault::NoSpace;
            world.disk.arm(Fault::Kill, u64::MAX / 2);
            if !ended {
                world.check(seed);
            }
            if ended || full || world.rng.percent(30) {
                let power_cut = ended && fault == Fault::PowerCut || world.rng.percent(50);
                world.restart(power_cut);
                tally.restarts += 1;
                world.check(seed);
            }
        }
    }
    println!("{tally:?}");
    let Tally { faults, merged, deleted, restarts } = tally;
    assert!(faults > 500 && merged > 50 && deleted > 30 && restarts > 300);
}
