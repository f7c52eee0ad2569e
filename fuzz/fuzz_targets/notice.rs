#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| perennial_fuzz::notice(input));
