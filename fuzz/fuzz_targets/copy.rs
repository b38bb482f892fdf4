//! Any bytes as a line of `COPY … TO STDOUT`: a row of the asked width or an error, never a panic.

#![no_main]

use brooklet::decode::copy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&columns, line)) = data.split_first() else { return };
    let columns = usize::from(columns % 8);
    if let Ok((_, rest)) = copy::placed(line) {
        assert!(line.ends_with(rest));
    }
    let mut reader = copy::Reader::new(columns);
    if let Ok(row) = reader.read(line).and_then(|values| values.row()) {
        assert_eq!(row.len(), columns);
        assert_eq!(row.iter().count(), columns);
    }
});
