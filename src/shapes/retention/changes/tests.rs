//! What the walk over all entries keeps in memory.

use super::*;

#[test]
fn numbers_that_come_again_and_again_take_no_memory() {
    for distinct in [1, 1000, 10_000, 100_000] {
        let mut found = Distinct::default();
        for number in (0..3_000_000_u64).map(|number| (number * 7919) % distinct) {
            found.add(number);
        }
        let most = 4 * (distinct as usize).max(DISTINCT_MIN);
        assert!(found.all.capacity() <= most, "{distinct}: {}", found.all.capacity());
        assert!(found.sorted().into_iter().eq(0..distinct), "{distinct}");
    }
    assert!(Distinct::default().sorted().is_empty());
}
