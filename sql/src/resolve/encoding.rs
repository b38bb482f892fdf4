//! What depends on the bytes that the server has text in.
//!
//! *Enters*: calls, casts and orders. *Leaves*: a refusal where the server's encoding is not UTF8: what comes to us is
//! UTF8 always, so that Postgres would count, hash and order other bytes for a snapshot than we do for the stream.

use super::Resolver;
use crate::WhereError;
use crate::data_type::DataType;
use crate::datum::Datum;
use crate::name::NAME_BYTES_MAX;
use crate::oid::Oid;
use crate::routine::Call;
use crate::scalar::{Kind, Scalar};

/// Code that takes text as the server's bytes, or makes text of bytes, of which not all are text there. `convert_to`
/// asks for UTF8 itself.
const OF_BYTES: [&str; 7] = [
    "textoctetlen",
    "bpcharoctetlen",
    "bit_length/1/1811",
    "md5_text",
    "ascii",
    "chr",
    "pg_convert_from",
];

/// Code that makes text of values of any type.
const PRINTS: [&str; 9] = [
    "text_concat",
    "text_concat_ws",
    "textanycat",
    "anytextcat",
    "array_to_text",
    "array_to_text_null",
    "text_format",
    "quote_literal/1/1285",
    "quote_nullable/1/1290",
];

impl Resolver<'_> {
    /// Refuses what the server would do with other bytes.
    pub(super) fn refuse_bytes(&self, what: &str, at: usize) -> Result<(), WhereError> {
        let Some(encoding) = &self.tables.encoding else { return Ok(()) };
        let reason = format!(
            "{what} is only supported in a database whose encoding is UTF8, and this one's is {encoding}: it depends on \
             the bytes of text, which are others in Postgres' snapshots than in the stream; convert_to(\u{2026}, 'UTF8') \
             gives the same everywhere"
        );
        Err(WhereError::at(at, reason))
    }

    pub(super) fn refuse_bytes_of_call(
        &self,
        call: &Call,
        items: &[Scalar],
        at: usize,
    ) -> Result<(), WhereError> {
        if OF_BYTES.contains(&call.code) {
            return self.refuse_bytes(call.name, at);
        }
        // Digits that stand for bytes are the same everywhere.
        let digits = |format: &str| matches!(&*format.to_ascii_lowercase(), "hex" | "base64");
        if call.code == "binary_decode" && !items.get(1).and_then(constant).is_some_and(digits) {
            return self.refuse_bytes("decode but of hex and base64", at);
        }
        if PRINTS.contains(&call.code)
            && items.iter().any(|item| innermost(&item.data_type) == Oid::JSONB)
        {
            return self.refuse_bytes(TEXT_OF_JSONB, at);
        }
        Ok(())
    }

    /// Of a cast to a type; a constant without a type is cast, too.
    pub(super) fn refuse_bytes_of_cast(
        &self,
        item: &Scalar,
        target: &DataType,
    ) -> Result<(), WhereError> {
        let (from, to) = (innermost(&item.data_type), innermost(target));
        if from == Oid::JSONB && target.category() == 'S' {
            return self.refuse_bytes(TEXT_OF_JSONB, item.at);
        }
        let is_text = from == Oid::UNKNOWN || DataType::from(from).category() == 'S';
        let cuts = is_text && from != to && matches!(to, Oid::BYTEA | Oid::NAME);
        // A short name is cut nowhere: no encoding has twice the bytes of UTF8.
        let is_short = |text: &str| to == Oid::NAME && text.len() * 2 <= NAME_BYTES_MAX;
        if cuts && !constant(item).is_some_and(|text| text.is_ascii() || is_short(text)) {
            let what = if to == Oid::NAME { "text as a name" } else { "text as bytea" };
            return self.refuse_bytes(what, item.at);
        }
        Ok(())
    }
}

/// Shorter keys come first in it.
const TEXT_OF_JSONB: &str = "the text of jsonb";

fn innermost(data_type: &DataType) -> Oid {
    data_type.element.as_deref().map_or(data_type.oid, |element| element.oid)
}

fn constant(item: &Scalar) -> Option<&str> {
    match &item.kind {
        Kind::Unknown { text, .. } => Some(text),
        Kind::Constant(Some(Datum::Text(text))) => Some(text),
        // NULL has no bytes.
        Kind::Constant(None) => Some(""),
        Kind::Collate(operand) => constant(operand),
        _ => None,
    }
}
