//! Declared types that stand for any: `anyelement`, `anyarray`, `anycompatible` and their kin.

use super::overload::common_type;
use crate::catalog::{RangeEntry, catalog};
use crate::data_type::DataType;
use crate::oid::Oid;

/// Whether a declared type stands for others.
pub(super) fn is(oid: Oid) -> bool {
    is_strict(oid) || is_compatible(oid)
}

/// Those that must all be the same.
fn is_strict(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::ANYELEMENT
            | Oid::ANYARRAY
            | Oid::ANYNONARRAY
            | Oid::ANYENUM
            | Oid::ANYRANGE
            | Oid::ANYMULTIRANGE
    )
}

/// Those that are cast to a common type.
fn is_compatible(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::ANYCOMPATIBLE
            | Oid::ANYCOMPATIBLEARRAY
            | Oid::ANYCOMPATIBLENONARRAY
            | Oid::ANYCOMPATIBLERANGE
            | Oid::ANYCOMPATIBLEMULTIRANGE
    )
}

fn is_array(oid: Oid) -> bool {
    matches!(oid, Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY)
}

/// What a pair says about the element type: `Ok(None)` nothing, `Err` that it cannot be.
fn element(declared: Oid, given: &DataType) -> Result<Option<DataType>, ()> {
    if given.oid == Oid::UNKNOWN {
        return Ok(None);
    }
    match declared {
        _ if is_array(declared) => given.element.as_deref().cloned().map(Some).ok_or(()),
        Oid::ANYNONARRAY | Oid::ANYCOMPATIBLENONARRAY if given.element.is_some() => Err(()),
        Oid::ANYENUM if given.labels.is_none() => Err(()),
        Oid::ANYELEMENT
        | Oid::ANYNONARRAY
        | Oid::ANYENUM
        | Oid::ANYCOMPATIBLE
        | Oid::ANYCOMPATIBLENONARRAY => Ok(Some(given.clone())),
        Oid::ANYRANGE | Oid::ANYMULTIRANGE => {
            range(declared, given).map(|entry| Some(entry.element.into())).ok_or(())
        }
        // Nothing that is built in takes any other.
        _ => Err(()),
    }
}

/// The range type that a pair speaks of.
fn range(declared: Oid, given: &DataType) -> Option<RangeEntry> {
    match declared {
        Oid::ANYRANGE => catalog().range(given.oid),
        Oid::ANYMULTIRANGE => catalog().multirange(given.oid),
        _ => None,
    }
}

/// The element types the two families stand for.
struct Elements {
    strict: Option<DataType>,
    /// The range type of the first; its bounds' type alone does not tell.
    range: Option<RangeEntry>,
    compatible: Option<DataType>,
}

fn elements(declared: &[Oid], given: &[DataType]) -> Option<Elements> {
    let mut strict: Option<DataType> = None;
    let mut found_range: Option<RangeEntry> = None;
    let mut compatible = Vec::new();
    for (declared, given) in declared.iter().zip(given).filter(|(declared, _)| is(**declared)) {
        let Some(found) = element(*declared, given).ok()? else { continue };
        if let Some(entry) = range(*declared, given)
            && found_range.replace(entry).is_some_and(|before| before.range != entry.range)
        {
            return None;
        }
        if is_compatible(*declared) {
            compatible.push(found);
        } else if strict.as_ref().is_some_and(|strict| *strict != found) {
            return None;
        } else {
            strict = Some(found);
        }
    }
    Some(Elements { strict, range: found_range, compatible: common_type(&compatible) })
}

/// Whether types could be what is declared.
pub(super) fn is_consistent(declared: &[Oid], given: &[DataType]) -> bool {
    if !declared.iter().any(|one| is(*one)) {
        return true;
    }
    let Some(found) = elements(declared, given) else { return false };
    // Without a common type the second family has no meaning.
    found.compatible.is_some()
}

/// The types that the arguments are cast to, and the type of the result.
pub(super) fn settle(
    declared: &[Oid],
    result: Oid,
    given: &[DataType],
) -> Option<(Vec<DataType>, DataType)> {
    let found = elements(declared, given)?;
    let one = |oid: Oid| -> Option<DataType> {
        if !is(oid) {
            return Some(oid.into());
        }
        match oid {
            Oid::ANYRANGE => return found.range.map(|entry| entry.range.into()),
            Oid::ANYMULTIRANGE => return found.range.map(|entry| entry.multirange.into()),
            _ => {}
        }
        let element =
            if is_compatible(oid) { found.compatible.clone() } else { found.strict.clone() }?;
        if is_array(oid) { element.array() } else { Some(element) }
    };
    let arguments = declared
        .iter()
        .zip(given)
        .map(|(declared, given)| match *declared {
            Oid::ANY if given.oid == Oid::UNKNOWN => Some(Oid::TEXT.into()),
            Oid::ANY => Some(given.clone()),
            declared => one(declared),
        })
        .collect::<Option<Vec<DataType>>>()?;
    Some((arguments, one(result)?))
}
