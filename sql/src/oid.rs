//! Types by the numbers Postgres gave them.
//!
//! *Invariant*: built-in types keep their numbers for ever; those of enums and domains are the
//! database's own and come with the table.

/// `pg_type.oid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid(pub(crate) u32);

macro_rules! oids {
    ($($name:ident = $oid:literal),* $(,)?) => {
        impl Oid {
            $(pub(crate) const $name: Oid = Oid($oid);)*
        }
    };
}

oids! {
    BOOL = 16, BYTEA = 17, NAME = 19, INT8 = 20, INT2 = 21, INT4 = 23, TEXT = 25, OID = 26,
    FLOAT4 = 700, FLOAT8 = 701, UNKNOWN = 705, BPCHAR = 1042,
    VARCHAR = 1043, DATE = 1082, TIME = 1083, TIMESTAMP = 1114, TIMESTAMPTZ = 1184,
    INTERVAL = 1186, TIMETZ = 1266, NUMERIC = 1700, RECORD = 2249, ANY = 2276, ANYARRAY = 2277,
    ANYELEMENT = 2283, ANYNONARRAY = 2776, UUID = 2950, ANYENUM = 3500, JSONB = 3802, INET = 869, CIDR = 650,
    JSON = 114, MACADDR8 = 774, MACADDR = 829, BIT = 1560, VARBIT = 1562, PG_LSN = 3220, XID8 = 5069,
    ANYRANGE = 3831, ANYMULTIRANGE = 4537, ANYCOMPATIBLEMULTIRANGE = 4538,
    ANYCOMPATIBLE = 5077, ANYCOMPATIBLEARRAY = 5078, ANYCOMPATIBLENONARRAY = 5079,
    ANYCOMPATIBLERANGE = 5080,
    // An extension's; Postgres keeps this number free for patches that are not released.
    CITEXT = 9998,
}
