//! How many files and sockets the process may have open, and how many of them clients may take.
//!
//! *Enters*: the system's limit. *Leaves*: the room for connections. *Invariant*: beside them there is room for files and
//! for Postgres: without a descriptor for the next file of a log the process would have to end.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::limits::{
    CONNECTIONS_MIN, DESCRIPTORS_KEPT_MIN, DESCRIPTORS_KEPT_SHARE, DESCRIPTORS_WANTED,
};

/// Raises the soft limit to the hard one: it is low only for programs that hold descriptors in sets of fixed size. Gives
/// back the limit that holds then.
#[must_use]
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where there is no hard limit some systems refuse to have no soft one.
    let wanted = maximum.unwrap_or(DESCRIPTORS_WANTED);
    let raised = match current {
        Some(current) if current < wanted => {
            match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
                Ok(()) => wanted,
                Err(error) => {
                    tracing::warn!(%error, "the limit of open files stays at {current}");
                    current
                }
            }
        }
        Some(current) => current,
        None => return usize::MAX,
    };
    usize::try_from(raised).unwrap_or(usize::MAX)
}

/// How many connections may be open at once where so many descriptors are.
#[must_use]
pub fn connections(descriptors: usize, pool_size: usize) -> usize {
    let kept = (DESCRIPTORS_KEPT_MIN + pool_size).max(descriptors / DESCRIPTORS_KEPT_SHARE);
    descriptors.saturating_sub(kept).clamp(CONNECTIONS_MIN, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_postgres_have_room_beside_any_number_of_clients() {
        for descriptors in [200, 256, 1024, 20_000, 1 << 20, 1 << 30] {
            let kept = descriptors - connections(descriptors, 20);
            assert!(kept >= DESCRIPTORS_KEPT_MIN + 20, "{kept} of {descriptors}");
            assert!(kept >= descriptors / DESCRIPTORS_KEPT_SHARE, "{kept} of {descriptors}");
            assert!(kept <= descriptors / 2, "{kept} of {descriptors}");
        }
        assert!(connections(16_384, 20) >= crate::limits::REQUESTS_DEFAULT.1);
        assert_eq!(connections(10, 20), CONNECTIONS_MIN);
        assert_eq!(connections(usize::MAX, 20), Semaphore::MAX_PERMITS);
    }
}
