//! Values that a row has only if its `jsonb` has a certain member.
//!
//! *Enters*: a scalar. *Leaves*: the document's column and the member's key.
//! *Invariant*: where the document is NULL, no object, or an object without the member, the scalar is NULL or
//! fails: everything between the member and the scalar is strict.

use crate::datum::Datum;
use crate::scalar::{Kind, Scalar};

/// The document, which is a column, and the key; `None` where there may be a value without it.
pub(super) fn member_of(scalar: &Scalar) -> Option<(&Scalar, &str)> {
    match &scalar.kind {
        Kind::Cast { operand, .. } | Kind::Collate(operand) => member_of(operand),
        Kind::Call(call, arguments) if call.strict => {
            field(call.code, arguments).or_else(|| arguments.iter().find_map(member_of))
        }
        _ => None,
    }
}

/// `column -> 'key'`, `column ->> 'key'`.
fn field<'a>(code: &str, arguments: &'a [Scalar]) -> Option<(&'a Scalar, &'a str)> {
    let ("jsonb_object_field" | "jsonb_object_field_text", [json, key]) = (code, arguments) else {
        return None;
    };
    match (&json.kind, key.constant()?) {
        (Kind::Column(_), Some(Datum::Text(key))) => Some((json, key)),
        _ => None,
    }
}
