//! What shapes with subqueries add to appending: rows that have no place in the change log.

use brooklet_dataflows::members::MemberNews;
use brooklet_dataflows::{Change, ShapePostings};
use brooklet_sql::Lsn;

use super::{Appender, AppenderHandle, Command};
use crate::frame::FrameError;
use crate::shape_log::postings::Posting;

impl AppenderHandle {
    /// See [`Command::Members`]. From a plain thread; waits while the appender is behind.
    pub fn members(&self, lsn: Lsn, xid: u32, news: Vec<MemberNews>) {
        let load = self.scale.load(news.iter().map(weight).sum());
        // Closed means that the process is ending.
        let _ = self.commands.blocking_send(Command::Members { lsn, xid, news, load });
    }
}

/// How many postings take as much memory: a row that moved comes with all its columns.
fn weight(news: &MemberNews) -> usize {
    let bytes = |(change, _): &(Change, Posting)| {
        let rows = [&change.old, &change.new].into_iter().flatten();
        size_of::<(Change, Posting)>() + rows.map(|row| row.as_bytes().len()).sum::<usize>()
    };
    news.own.len() + news.moved.iter().map(bytes).sum::<usize>().div_ceil(size_of::<Posting>())
}

impl Appender {
    /// Rows that moved go before the postings that refer to them, into the same file.
    pub(super) fn members(
        &mut self,
        lsn: Lsn,
        xid: u32,
        news: Vec<MemberNews>,
    ) -> Result<(), FrameError> {
        let mut shapes = Vec::with_capacity(news.len());
        for MemberNews { shape, own: mut postings, moved } in news {
            if self.logs.get(shape).is_none() {
                continue;
            }
            let seqs = self.file.append_moved(moved.iter().map(|(change, _)| change))?;
            let moved = moved.into_iter().zip(seqs);
            postings.extend(moved.map(|((_, posting), seq)| Posting { seq, ..posting }));
            shapes.push(ShapePostings { shape, postings });
        }
        self.transaction(lsn, xid, shapes);
        self.reached = self.reached.max(lsn);
        Ok(())
    }
}
