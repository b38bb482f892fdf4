//! Any bytes as a line of `COPY … TO STDOUT`: a row of the asked width or an error, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&columns, line)) = data.split_first() else { return };
    let columns = usize::from(columns % 8);
    if let Ok(row) = brooklet::decode::copy::row(line, columns, &mut Vec::new()) {
        assert_eq!(row.len(), columns);
        assert_eq!(row.iter().count(), columns);
    }
});
