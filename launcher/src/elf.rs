//! What the headers of an ELF file say about loading a library into it. Reads nothing but the headers, and takes any
//! bytes: a damaged file is an error.

use std::fmt;
use std::fs::File;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
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

/// The headers that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Machine, word size and byte order.
    pub target: Target,
    /// `ET_EXEC` or `ET_DYN`: something that the kernel can start or the dynamic loader can load.
    pub loadable: bool,
    /// It names a dynamic loader (`PT_INTERP`), which is who reads `LD_PRELOAD`. Static programs have none; a static
    /// position-independent one has `PT_DYNAMIC` all the same.
    pub interpreter: bool,
    /// It has a `PT_DYNAMIC` segment, as every shared library has.
    pub dynamic: bool,
}

/// Reads the headers of `file`, whose first bytes are `MAGIC`. The error says what is wrong with the file.
pub fn read(file: File) -> Result<Elf, String> {
    let data = &ReadCache::new(file);
    let class = data.read_at::<u8>(4).map_err(|()| String::from("too short"))?;
    match *class {
        elf::ELFCLASS32 => headers::<FileHeader32<Endianness>>(data),
        elf::ELFCLASS64 => headers::<FileHeader64<Endianness>>(data),
        other => return Err(format!("unknown class {other}")),
    }
    .map_err(|e| e.to_string())
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
        interpreter: false,
        dynamic: false,
    };
    for segment in header.program_headers(endian, data)? {
        match segment.p_type(endian) {
            elf::PT_INTERP => found.interpreter = true,
            elf::PT_DYNAMIC => found.dynamic = true,
            _ => {}
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
        assert!(elf.loadable && elf.interpreter && elf.dynamic);
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
        assert!(read(file(&bytes[..headers])).is_ok());
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
