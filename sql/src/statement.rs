//! Statements we send to Postgres, built from parsed names only.
