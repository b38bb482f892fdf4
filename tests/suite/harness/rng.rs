//! Random choices that a printed seed repeats.
//!
//! Every random test draws from one generator; `BROOKLET_TEST_SEED` replays a run that failed.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, fast, and the same on every machine.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for a test, its seed printed so that a failure shows it.
    pub fn for_test(name: &str) -> Rng {
        let fresh =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("clock before 1970").as_micros()
                as u64;
        let seed = std::env::var("BROOKLET_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(fresh);
        println!("{name}: BROOKLET_TEST_SEED={seed} replays this run");
        let salt =
            name.bytes().fold(0u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(byte.into()));
        Rng(seed ^ salt)
    }

    /// A second generator, independent of what the first one draws later.
    pub fn fork(&mut self) -> Rng {
        Rng(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the given things.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
