//! See `dragon_fuzz_checks::import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dragon_fuzz_checks::import::check(bytes));
