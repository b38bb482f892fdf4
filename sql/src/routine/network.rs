//! Operators on `inet` and `cidr`.

use super::{Arguments, Function, Outcome, some};
use crate::datum::Datum;
use crate::evaluation_error::EvaluationError;
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
        "network_host" => |_, list| some(Datum::text(&Arguments(list).network(0)?.host())),
        "network_show" => |_, list| {
            let network = Arguments(list).network(0)?;
            some(Datum::text(&format!("{}/{}", network.host(), network.bits)))
        },
        "inet_abbrev" => |_, list| some(Datum::text(&Arguments(list).network(0)?.text(false))),
        "network_network" => |_, list| changed(list, |one| (one.bits, one.prefix(one.bits))),
        "network_broadcast" => {
            |_, list| changed(list, |one| (one.bits, one.prefix(one.bits) | one.beyond(one.bits)))
        }
        "network_netmask" => {
            |_, list| changed(list, |one| (one.most(), one.beyond(0) & !one.beyond(one.bits)))
        }
        "network_hostmask" => |_, list| changed(list, |one| (one.most(), one.beyond(one.bits))),
        "inet_same_family" => |_, list| test(list, |left, right| left.wide == right.wide),
        "inet_set_masklen" => |_, list| masked(list, false),
        "cidr_set_masklen" => |_, list| masked(list, true),
        _ => return None,
    })
}

fn test(list: &[Option<Datum>], holds: fn(&Network, &Network) -> bool) -> Outcome {
    let arguments = Arguments(list);
    some(Datum::Bool(holds(arguments.network(0)?, arguments.network(1)?)))
}

/// The same kind of address with other bits.
fn changed(list: &[Option<Datum>], change: fn(&Network) -> (u8, u128)) -> Outcome {
    let network = Arguments(list).network(0)?;
    let (bits, address) = change(network);
    some(Datum::Network(Network { wide: network.wide, bits, address }))
}

/// Of another size; −1 stands for the whole address. A `strict` one loses the bits beyond.
fn masked(list: &[Option<Datum>], strict: bool) -> Outcome {
    let arguments = Arguments(list);
    let (network, bits) = (arguments.network(0)?, *arguments.int(1)?);
    let bits = if bits == -1 { network.most() } else { u8::try_from(bits).unwrap_or(u8::MAX) };
    if bits > network.most() {
        return Err(EvaluationError::Other("invalid mask length"));
    }
    let address = if strict { network.prefix(bits) } else { network.address };
    some(Datum::Network(Network { wide: network.wide, bits, address }))
}
