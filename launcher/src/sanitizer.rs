//! Programs built with a sanitizer of GCC or Clang whose runtime is a library of its own.

use std::path::Path;

use crate::elf::Elf;

/// Their names, up to a dot or a dash: GCC's `libasan.so.8`, Clang's `libclang_rt.asan-x86_64.so`.
const RUNTIMES: [&str; 8] = [
    "libasan",
    "libtsan",
    "libubsan",
    "liblsan",
    "libclang_rt.asan",
    "libclang_rt.tsan",
    "libclang_rt.ubsan",
    "libclang_rt.lsan",
];

/// What AddressSanitizer takes as the permission not to come first.
const PERMISSION: &str = "verify_asan_link_order=0";

/// Whether `path` names such a runtime.
pub fn is_runtime(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    RUNTIMES.iter().any(|runtime| name.strip_prefix(runtime).is_some_and(|rest| rest.starts_with(['.', '-', '_'])))
}

/// What to set for a program that would end at once with `ASan runtime does not come first`, because the library is loaded
/// before its runtime. `preload` and `options` are the values of `LD_PRELOAD` and `ASAN_OPTIONS`.
pub fn hint(program: &Elf, preload: &str, options: &str) -> Option<String> {
    let asan = |name: &&String| is_runtime(Path::new(name)) && name.contains("asan");
    let runtime = program.needed.iter().find(asan)?;
    let first = preload.split([' ', ':']).any(|name| is_runtime(Path::new(name)) && name.contains("asan"));
    (!first && !options.contains(PERMISSION)).then(|| {
        format!(
            "built with AddressSanitizer, whose runtime wants to be loaded first: set ASAN_OPTIONS={PERMISSION}, or \
             LD_PRELOAD={runtime}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn runtimes_are_known_by_their_names() {
        for name in ["libasan.so.8", "/usr/lib/libtsan.so.2", "libclang_rt.asan-x86_64.so", "/x/libubsan.so"] {
            assert!(is_runtime(Path::new(name)), "{name}");
        }
        for name in ["libc.so.6", "libasano.so", "asan", "/libasan.so/x"] {
            assert!(!is_runtime(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn the_hint_is_for_those_who_need_it() {
        let mut elf = crate::elf::read(File::open("/proc/self/exe").expect("this program")).expect("sound");
        assert_eq!(hint(&elf, "", ""), None);
        elf.needed = vec!["libubsan.so.1".into(), "libc.so.6".into()];
        assert_eq!(hint(&elf, "", ""), None, "nothing to be done");
        elf.needed = vec!["libasan.so.8".into(), "libc.so.6".into()];
        assert!(
            hint(&elf, "a.so:b.so", "detect_leaks=0").is_some_and(|hint| hint.ends_with("LD_PRELOAD=libasan.so.8"))
        );
        assert_eq!(hint(&elf, "", "detect_leaks=0:verify_asan_link_order=0"), None);
        assert_eq!(hint(&elf, "a.so /x/libasan.so.8", ""), None);
    }
}
