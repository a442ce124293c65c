//! See `dragon_fuzz_checks::decide`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dragon_fuzz_checks::decide::check(bytes));
