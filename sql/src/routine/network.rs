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
        "inetnot" => |_, list| changed(list, |one| (one.bits, !one.address & one.beyond(0))),
        "inetand" => |_, list| combined(list, |left, right| left & right),
        "inetor" => |_, list| combined(list, |left, right| left | right),
        "inetpl" => |_, list| {
            let arguments = Arguments(list);
            moved(arguments.network(0)?, *arguments.int(1)?)
        },
        "int8pl_inet" => |_, list| {
            let arguments = Arguments(list);
            moved(arguments.network(1)?, *arguments.int(0)?)
        },
        "inetmi_int8" => |_, list| {
            let arguments = Arguments(list);
            moved(arguments.network(0)?, arguments.int(1)?.wrapping_neg())
        },
        "inetmi" => |_, list| {
            let arguments = Arguments(list);
            let (left, right) = same_size(arguments.network(0)?, arguments.network(1)?)?;
            // Round the whole space of addresses, as Postgres subtracts them.
            let far = i64::try_from(left.wrapping_sub(right).cast_signed());
            some(Datum::Int(far.map_err(|_| OUTSIDE)?))
        },
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

const OUTSIDE: EvaluationError = EvaluationError::OutOfRange("result is out of range");

/// The addresses as numbers, of one family.
fn same_size(left: &Network, right: &Network) -> Result<(u128, u128), EvaluationError> {
    if left.wide != right.wide {
        return Err(EvaluationError::Other("cannot combine inet values of different sizes"));
    }
    Ok((left.number(), right.number()))
}

/// So many addresses further.
fn moved(network: &Network, by: i64) -> Outcome {
    let most = if network.wide { u128::MAX } else { u128::from(u32::MAX) };
    let number = network.number().checked_add_signed(i128::from(by));
    let number = number.filter(|number| *number <= most).ok_or(OUTSIDE)?;
    some(Datum::Network(network.numbered(number)))
}

/// Bit by bit; the longer of the two sizes stays.
fn combined(list: &[Option<Datum>], combine: fn(u128, u128) -> u128) -> Outcome {
    let arguments = Arguments(list);
    let (one, other) = (arguments.network(0)?, arguments.network(1)?);
    let (left, right) = same_size(one, other)?;
    let found = one.numbered(combine(left, right));
    some(Datum::Network(Network { bits: one.bits.max(other.bits), ..found }))
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
