//! What an ELF file says about loading a library into it: its headers, its notes, and the libraries that it names. Takes
//! any bytes: a damaged file is an error.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionTable, Sym};
use object::{Endianness, ReadCache, ReadRef};

/// The first bytes of every ELF file (elf(5), `e_ident`).
pub const MAGIC: &[u8] = b"\x7fELF";

/// What a program and a library must have in common to share a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    is_64: bool,
    big_endian: bool,
    machine: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.machine {
            elf::EM_386 => f.write_str("i386")?,
            elf::EM_X86_64 => f.write_str("x86-64")?,
            elf::EM_ARM => f.write_str("ARM")?,
            elf::EM_AARCH64 => f.write_str("AArch64")?,
            elf::EM_PPC64 => f.write_str("POWER")?,
            elf::EM_RISCV => f.write_str("RISC-V")?,
            elf::EM_S390 => f.write_str("S/390")?,
            other => write!(f, "ELF machine {other}")?,
        }
        write!(f, " {}-bit", if self.is_64 { 64 } else { 32 })?;
        if self.big_endian { f.write_str(" big-endian") } else { Ok(()) }
    }
}

/// Who made the program, or whose code serves its system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
    /// The Go toolchain, which makes system calls without a C library, even where one is linked in.
    Go,
    /// Another one, or one that has left no trace.
    Unknown,
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Libc::Glibc => "glibc",
            Libc::Musl => "musl",
            Libc::Go => "Go",
            Libc::Unknown => "an unknown libc",
        })
    }
}

/// What matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Machine, word size and byte order.
    pub target: Target,
    /// `ET_EXEC` or `ET_DYN`: something that the kernel can start or the dynamic loader can load.
    pub loadable: bool,
    /// The dynamic loader that it names (`PT_INTERP`), which is who reads `LD_PRELOAD`. Static programs have none; a
    /// static position-independent one has `PT_DYNAMIC` all the same.
    pub interpreter: Option<PathBuf>,
    /// It has a `PT_DYNAMIC` segment, as every shared library has.
    pub dynamic: bool,
    /// What its system calls go through.
    pub libc: Libc,
    /// The libraries that it names (`DT_NEEDED`), in their order.
    pub needed: Vec<String>,
}

/// The names by which an object and the rest of its process find each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What it takes from others.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
    /// `DF_1_NOOPEN`, set by `ld -z nodlopen`.
    pub no_open: bool,
}

/// Reads the headers of `file`, whose first bytes are `MAGIC`. The error says what is wrong with the file.
pub fn read(file: File) -> Result<Elf, String> {
    let data = &ReadCache::new(file);
    match is_64(data)? {
        false => headers::<FileHeader32<Endianness>>(data),
        true => headers::<FileHeader64<Endianness>>(data),
    }
    .map_err(|e| e.to_string())
}

/// Reads the dynamic symbols of `file`, as of [`read`].
pub fn symbols(file: File) -> Result<Symbols, String> {
    let data = &ReadCache::new(file);
    match is_64(data)? {
        false => dynamic_symbols::<FileHeader32<Endianness>>(data),
        true => dynamic_symbols::<FileHeader64<Endianness>>(data),
    }
    .map_err(|e| e.to_string())
}

fn is_64(data: &ReadCache<File>) -> Result<bool, String> {
    match *data.read_at::<u8>(4).map_err(|()| String::from("too short"))? {
        elf::ELFCLASS32 => Ok(false),
        elf::ELFCLASS64 => Ok(true),
        other => Err(format!("unknown class {other}")),
    }
}

fn headers<H: FileHeader<Endian = Endianness>>(data: &ReadCache<File>) -> object::read::Result<Elf> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let mut found = Elf {
        target: Target {
            is_64: header.is_type_64(),
            big_endian: endian == Endianness::Big,
            machine: header.e_machine(endian),
        },
        loadable: matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN),
        interpreter: None,
        dynamic: false,
        libc: Libc::Unknown,
        needed: Vec::new(),
    };
    let (mut go, mut gnu) = (false, false);
    for segment in header.program_headers(endian, data)? {
        match segment.p_type(endian) {
            elf::PT_INTERP => {
                let path = segment.interpreter(endian, data)?.unwrap_or_default();
                found.interpreter = Some(Path::new(OsStr::from_bytes(path)).to_owned());
            }
            elf::PT_DYNAMIC => found.dynamic = true,
            elf::PT_NOTE => {
                let Some(mut notes) = segment.notes(endian, data)? else { continue };
                // A damaged note ends the look at this segment: notes decide nothing but words.
                while let Ok(Some(note)) = notes.next() {
                    go |= note.name() == b"Go";
                    gnu |= note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_ABI_TAG;
                }
            }
            _ => {}
        }
    }
    // Section headers may have been cut off; the program runs without them.
    if let Ok(sections) = header.sections(endian, data) {
        found.needed = needed(&sections, endian, data).unwrap_or_default();
        let by_loader = found.interpreter.as_deref().map_or(Libc::Unknown, loader_of);
        let by_names = found.needed.iter().map(|name| library_of(name)).find(|libc| *libc != Libc::Unknown);
        found.libc = match (by_loader, by_names) {
            _ if go => Libc::Go,
            (Libc::Unknown, Some(libc)) => libc,
            (Libc::Unknown, None) if gnu => Libc::Glibc,
            (Libc::Unknown, None) if found.interpreter.is_none() && is_static_musl(&sections, endian, data) => {
                Libc::Musl
            }
            (libc, _) => libc,
        };
    }
    Ok(found)
}

/// Whose dynamic loader has this path.
fn loader_of(path: &Path) -> Libc {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let is = |prefix: &str| name.starts_with(prefix.as_bytes());
    match () {
        () if is("ld-musl-") => Libc::Musl,
        () if is("ld-linux") || is("ld64.so.") || is("ld.so.") => Libc::Glibc,
        () => Libc::Unknown,
    }
}

/// Whose C library has this name (`DT_SONAME`).
fn library_of(name: &str) -> Libc {
    match name {
        "libc.so.6" => Libc::Glibc,
        "libc.so" => Libc::Musl,
        _ if name.starts_with("libc.musl-") => Libc::Musl,
        _ => Libc::Unknown,
    }
}

type Sections<'a, H> = SectionTable<'a, H, &'a ReadCache<File>>;

fn needed<H: FileHeader<Endian = Endianness>>(
    sections: &Sections<'_, H>,
    endian: Endianness,
    data: &ReadCache<File>,
) -> Option<Vec<String>> {
    let (entries, strings) = sections.dynamic(endian, data).ok()??;
    let strings = sections.strings(endian, data, strings).ok()?;
    entries
        .iter()
        .take_while(|entry| entry.tag32(endian) != Some(elf::DT_NULL))
        .filter(|entry| entry.tag32(endian) == Some(elf::DT_NEEDED))
        .map(|entry| {
            let name = entry.val32(endian).and_then(|offset| strings.get(offset).ok());
            name.map(|name| String::from_utf8_lossy(name).into_owned())
        })
        .collect()
}

/// Whether the symbol table, if it has not been stripped, has musl's start-up code.
fn is_static_musl<H: FileHeader<Endian = Endianness>>(
    sections: &Sections<'_, H>,
    endian: Endianness,
    data: &ReadCache<File>,
) -> bool {
    sections.symbols(endian, data, elf::SHT_SYMTAB).is_ok_and(|symbols| {
        symbols.iter().any(|symbol| symbol.name(endian, symbols.strings()).is_ok_and(|name| name == b"__init_libc"))
    })
}

fn dynamic_symbols<H: FileHeader<Endian = Endianness>>(data: &ReadCache<File>) -> object::read::Result<Symbols> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let table = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    let mut found = Symbols::default();
    for entry in sections.dynamic(endian, data)?.map(|(entries, _)| entries).unwrap_or_default() {
        found.no_open |= entry.tag32(endian) == Some(elf::DT_FLAGS_1)
            && entry.val32(endian).is_some_and(|flags| flags & elf::DF_1_NOOPEN != 0);
    }
    // The first entry is empty (elf(5), STN_UNDEF).
    for symbol in table.iter().skip(1) {
        let name = String::from_utf8_lossy(symbol.name(endian, table.strings())?).into_owned();
        if symbol.is_undefined(endian) {
            found.imports.push(name);
        } else if symbol.st_bind() != elf::STB_LOCAL {
            found.exports.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn file(bytes: &[u8]) -> File {
        let path =
            std::env::temp_dir().join(format!("wswrap-elf-{}-{:?}", std::process::id(), std::thread::current().id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a scratch file");
        std::fs::remove_file(&path).expect("its name is not needed");
        file.write_all(bytes).expect("written");
        file.rewind().expect("rewound");
        file
    }

    fn own_bytes() -> Vec<u8> {
        std::fs::read("/proc/self/exe").expect("this program")
    }

    #[test]
    fn a_dynamic_program_is_seen_as_such() {
        let elf = read(File::open("/proc/self/exe").expect("this program")).expect("sound");
        assert!(elf.loadable && elf.interpreter.is_some() && elf.dynamic);
        assert_eq!(elf.libc, Libc::Glibc);
        assert!(elf.needed.iter().any(|name| name == "libc.so.6"), "{:?}", elf.needed);
        assert_eq!(elf.target.is_64, cfg!(target_pointer_width = "64"));
        assert_eq!(elf.target.big_endian, cfg!(target_endian = "big"));
    }

    #[test]
    fn every_truncation_of_the_headers_is_an_error() {
        let bytes = own_bytes();
        let headers = 64 + 56 * usize::from(bytes[56]);
        for length in 0..headers {
            assert!(read(file(&bytes[..length])).is_err(), "{length} bytes were taken for a program");
        }
        // The path of the loader stands behind the headers; the section headers, which are at the end, may be missing.
        let elf = read(file(&bytes[..4096])).expect("sound");
        assert!(elf.interpreter.is_some() && elf.needed.is_empty());
    }

    #[test]
    fn the_libc_is_told_by_the_loader_and_by_the_names_of_libraries() {
        for (path, libc) in [
            ("/lib64/ld-linux-x86-64.so.2", Libc::Glibc),
            ("/nix/store/x-glibc-2.40/lib/ld-linux-aarch64.so.1", Libc::Glibc),
            ("/lib64/ld64.so.2", Libc::Glibc),
            ("/lib/ld-musl-x86_64.so.1", Libc::Musl),
            ("/system/bin/linker64", Libc::Unknown),
        ] {
            assert_eq!(loader_of(Path::new(path)), libc, "{path}");
        }
        for (name, libc) in [
            ("libc.so.6", Libc::Glibc),
            ("libc.musl-x86_64.so.1", Libc::Musl),
            ("libc.so", Libc::Musl),
            ("libcrypt.so.1", Libc::Unknown),
        ] {
            assert_eq!(library_of(name), libc, "{name}");
        }
    }

    #[test]
    fn symbols_are_told_apart() {
        let found = symbols(File::open("/proc/self/exe").expect("this program")).expect("sound");
        let libc = |name: &str| found.imports.iter().any(|import| import == name);
        assert!(libc("write") && !found.exports.iter().any(|export| export == "write"));
    }

    #[test]
    fn any_byte_of_the_header_may_be_wrong() {
        let bytes = own_bytes();
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes[..4096].to_vec();
                damaged[at] = value;
                // Sound or not is the file's affair; that it ends, without a panic, is ours.
                let _ = read(file(&damaged));
            }
        }
        let mut damaged = bytes;
        damaged[4] = 9;
        assert_eq!(read(file(&damaged)), Err("unknown class 9".into()));
    }

    #[test]
    fn a_table_of_headers_outside_the_file_is_an_error() {
        let mut bytes = own_bytes();
        bytes[32..40].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert!(read(file(&bytes)).is_err());
    }

    #[test]
    fn an_other_target_compares_unequal_and_has_a_name() {
        let own = read(file(&own_bytes())).expect("sound").target;
        let mut bytes = own_bytes();
        bytes[18..20].copy_from_slice(&elf::EM_S390.to_ne_bytes());
        let other = read(file(&bytes)).expect("sound").target;
        assert_ne!(own, other);
        assert_eq!(other.to_string(), "S/390 64-bit");
    }
}
