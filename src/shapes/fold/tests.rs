//! What a base says it contains.

use super::*;

#[test]
fn a_base_claims_what_is_visible_and_what_its_log_brought_since() {
    let seen: Visibility = "100:110:100,105".parse().unwrap();
    // Streamed, but not shown yet: one that was at work, one that began later.
    let contained = claimed(&seen, &[99, 105, 112]);
    assert_eq!(contained, "100:113:100,110,111".parse().unwrap());
    for id in 90..120 {
        let expected = seen.contains(id) || [105, 112].contains(&id);
        assert_eq!(contained.contains(id), expected, "{id}");
    }
    assert_eq!(claimed(&seen, &[99, 101]), seen);
}

#[test]
fn a_base_claims_too_little_rather_than_list_too_many() {
    let seen: Visibility = "100:110:".parse().unwrap();
    let far = 110 + u32::try_from(FOLD_XIDS_MAX).unwrap() + 5;
    assert_eq!(claimed(&seen, &[far]), seen);
}
