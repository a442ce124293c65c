//! See `dragon_fuzz_checks::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dragon_fuzz_checks::head::check(bytes));
