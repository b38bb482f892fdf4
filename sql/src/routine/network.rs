//! Operators on `inet` and `cidr`.

use super::{Arguments, Function, Outcome, some};
use crate::datum::Datum;
use crate::network::Network;

/// The code by Postgres' name.
pub(super) fn function(code: &str) -> Option<Function> {
    Some(match code {
        "network_sub" => {
            |_, list| test(list, |left, right| left.is_within(right) && left.bits > right.bits)
        }
        "network_subeq" => |_, list| test(list, Network::is_within),
        "network_sup" => {
            |_, list| test(list, |left, right| right.is_within(left) && right.bits > left.bits)
        }
        "network_supeq" => |_, list| test(list, |left, right| right.is_within(left)),
        "network_overlap" => {
            |_, list| test(list, |left, right| left.is_within(right) || right.is_within(left))
        }
        "network_family" => |_, list| {
            let wide = Arguments(list).network(0)?.wide;
            some(Datum::Int(if wide { 6 } else { 4 }))
        },
        "network_masklen" => {
            |_, list| some(Datum::Int(i64::from(Arguments(list).network(0)?.bits)))
        }
        _ => return None,
    })
}

fn test(list: &[Option<Datum>], holds: fn(&Network, &Network) -> bool) -> Outcome {
    let arguments = Arguments(list);
    some(Datum::Bool(holds(arguments.network(0)?, arguments.network(1)?)))
}
