#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| comfy_airlock_fuzz::workflow(data));
