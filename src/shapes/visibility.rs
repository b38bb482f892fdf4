//! Which transactions a Postgres snapshot sees.

use std::str::FromStr;
use std::sync::Arc;

use brooklet_sql::Lsn;
use serde::{Deserialize, Serialize};

/// What `pg_current_snapshot()` says; 64-bit transaction ids. Cheap to clone: a shape and its base keep
/// one each, and there may be a million.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Ids", into = "Ids")]
pub struct Visibility(Arc<Ids>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    xmin: u64,
    xmax: u64,
    in_progress: Box<[u64]>,
}

/// What a snapshot sees, and the last place in the stream that it may see.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The transactions it contains.
    pub visibility: Visibility,
    /// No transaction whose commit record begins after this position is in it.
    pub until: Lsn,
    /// How far the logs were when a shape began with it: none of its clients was ever told of an earlier place.
    pub born: Lsn,
}

impl Seen {
    /// What it sees, and the last place. How far the logs were is not known any more, but hardly less far.
    #[must_use]
    pub fn new(visibility: Visibility, until: Lsn) -> Arc<Seen> {
        Arc::new(Seen { visibility, until, born: until })
    }

    /// The same, for shapes that begin while the logs are so far.
    #[must_use]
    pub fn born(&self, born: Lsn) -> Arc<Seen> {
        let Seen { visibility, until, .. } = self;
        Arc::new(Seen { visibility: visibility.clone(), until: *until, born })
    }

    /// The same, in the memory of the `last` one if that is equal.
    #[must_use]
    pub fn like(last: &mut Option<Arc<Seen>>, visibility: &Visibility, until: Lsn) -> Arc<Seen> {
        let equal = |last: &&mut Arc<Seen>| last.until == until && last.visibility == *visibility;
        if let Some(last) = last.as_mut().filter(equal) {
            return Arc::clone(last);
        }
        Arc::clone(last.insert(Seen::new(visibility.clone(), until)))
    }

    /// What nobody has written yet.
    #[must_use]
    pub fn nothing() -> Seen {
        let visibility = Visibility::new(0, 0, Box::default());
        Seen { visibility, until: Lsn::ZERO, born: Lsn::ZERO }
    }
}

/// Text that is not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot: {0}")]
pub struct VisibilityError(String);

impl From<Ids> for Visibility {
    /// The snapshot of a slot that was made while transactions were open may have its `xmin` above its
    /// `xmax`, which moves with commits only. It sees what is below `xmin`; `pg_snapshot` and clients
    /// know no such order.
    fn from(ids: Ids) -> Visibility {
        Visibility(Arc::new(Ids { xmax: ids.xmax.max(ids.xmin), ..ids }))
    }
}

impl From<Visibility> for Ids {
    fn from(Visibility(ids): Visibility) -> Ids {
        Arc::unwrap_or_clone(ids)
    }
}

impl Visibility {
    /// A snapshot for which every transaction before `xmin` is over, none from `xmax` on had begun, and
    /// of those between these were at work.
    #[must_use]
    pub fn new(xmin: u64, xmax: u64, in_progress: Box<[u64]>) -> Visibility {
        Ids { xmin, xmax, in_progress }.into()
    }

    /// Every transaction before it is over.
    #[must_use]
    pub fn xmin(&self) -> u64 {
        self.0.xmin
    }

    /// No transaction from it on had begun.
    #[must_use]
    pub fn xmax(&self) -> u64 {
        self.0.xmax
    }

    /// The ones between that were still at work.
    #[must_use]
    pub fn in_progress(&self) -> &[u64] {
        &self.0.in_progress
    }

    /// Takes the memory of an equal one, so that there is one of it.
    pub fn share(&mut self, other: &Visibility) {
        if self == other {
            self.clone_from(other);
        }
    }

    /// Whether the snapshot contains what the transaction with this 32-bit id did. The stream only
    /// tells of committed ones.
    ///
    /// The id's upper half is the one that puts it nearest to `xmax`: ids of one stream are never
    /// more than 2³¹ apart.
    #[must_use]
    pub fn contains(&self, xid: u32) -> bool {
        let Some(xid) = self.full_id(xid) else { return true };
        xid < self.xmin() || (xid < self.xmax() && !self.in_progress().contains(&xid))
    }

    /// The 64-bit id of a transaction of the stream; `None` for one from before all others.
    #[must_use]
    pub fn full_id(&self, xid: u32) -> Option<u64> {
        let distance = i64::from(xid.wrapping_sub(self.xmax() as u32) as i32);
        self.xmax().checked_add_signed(distance)
    }
}

impl FromStr for Visibility {
    type Err = VisibilityError;

    /// Reads Postgres' form, `xmin:xmax:xip,xip`.
    fn from_str(text: &str) -> Result<Visibility, VisibilityError> {
        let refuse = || VisibilityError(text.to_owned());
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(refuse);
        let (xmin, xmax) = (number()?, number()?);
        let list = parts.next().ok_or_else(refuse)?;
        let ids = list.split(',').filter(|id| !id.is_empty());
        let in_progress =
            ids.map(|id| id.parse().map_err(|_| refuse())).collect::<Result<_, _>>()?;
        Ok(Visibility::new(xmin, xmax, in_progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_order_is_not_id_order() {
        let snapshot: Visibility = "100:110:100,105".parse().unwrap();
        assert!(snapshot.contains(99));
        assert!(!snapshot.contains(100));
        assert!(snapshot.contains(101));
        assert!(!snapshot.contains(105));
        assert!(snapshot.contains(109));
        assert!(!snapshot.contains(110));
        assert!("100:110:".parse::<Visibility>().unwrap().in_progress().is_empty());
        assert!("100".parse::<Visibility>().is_err());
    }

    #[test]
    fn a_slots_snapshot_has_its_bounds_in_order() {
        let snapshot: Visibility = "766:726:".parse().unwrap();
        assert_eq!((snapshot.xmin(), snapshot.xmax()), (766, 766));
        assert!(snapshot.contains(765));
        assert!(!snapshot.contains(766));
    }

    #[test]
    fn ids_wrap_at_32_bits() {
        let epoch = 5u64 << 32;
        let text = format!("{}:{}:", epoch - 10, epoch + 10);
        let snapshot: Visibility = text.parse().unwrap();
        assert!(snapshot.contains(u32::MAX - 20), "of the epoch before");
        assert!(snapshot.contains(5));
        assert!(!snapshot.contains(10));
        assert!(!snapshot.contains(1000));
    }
}
