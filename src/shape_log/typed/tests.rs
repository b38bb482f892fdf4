//! Batches as others read them.
