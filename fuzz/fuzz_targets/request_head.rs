#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wsproto::fuzzing::request_head(data));
