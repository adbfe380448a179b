//! Where the functions of the running program lie: the symbols of its file, and the place the system has
//! put it at.

use std::{fs, io, os::unix::fs::FileExt};

use object::{
    LittleEndian,
    elf::{
        FileHeader64, PF_X, PT_LOAD, ProgramHeader64, SHT_SYMTAB, STT_FUNC, SectionHeader64, Sym64,
    },
    pod::{self, Pod},
};

type Le = LittleEndian;
const LE: Le = LittleEndian;

/// The system maps files by pages.
const PAGE: u64 = 4096;
/// Symbols that are read at once. The whole of them would weigh as much as the rest of an idle process.
const AT_ONCE: usize = 256;
/// Bytes of a name; longer ones are of no function that is sought.
const LONGEST: usize = 512;

pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// In this process.
    pub(super) address: usize,
    /// Bytes.
    pub(super) size: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("the program's own file cannot be read: {0}")]
    File(#[from] io::Error),
    #[error("the program's own file is not understood")]
    Format,
    #[error("the program is not where /proc/self/maps says it is")]
    Place,
}

/// Shows `found` the functions of this program whose size is asked for.
pub(super) fn functions(
    wanted: impl Fn(usize) -> bool,
    mut found: impl FnMut(Function<'_>),
) -> Result<(), ProgramError> {
    let file = fs::File::open("/proc/self/exe")?;
    let header: FileHeader64<Le> = one(&file, 0)?;
    let moved = moved_by(&file, &header, &fs::read_to_string("/proc/self/maps")?)?;
    let section = |index: u64| -> Result<SectionHeader64<Le>, ProgramError> {
        let size = size_of::<SectionHeader64<Le>>() as u64;
        one(&file, header.e_shoff.get(LE).saturating_add(index * size))
    };
    for index in 0..u64::from(header.e_shnum.get(LE)) {
        let symbols = section(index)?;
        if symbols.sh_type.get(LE) != SHT_SYMTAB {
            continue;
        }
        let names = section(symbols.sh_link.get(LE).into())?.sh_offset.get(LE);
        let size = size_of::<Sym64<Le>>() as u64;
        let count = symbols.sh_size.get(LE) / size;
        for first in (0..count).step_by(AT_ONCE) {
            let at = symbols.sh_offset.get(LE).saturating_add(first * size);
            let some = AT_ONCE.min((count - first) as usize);
            for symbol in many::<Sym64<Le>>(&file, at, some)? {
                let size = symbol.st_size.get(LE) as usize;
                if symbol.st_type() != STT_FUNC || symbol.st_value.get(LE) == 0 || !wanted(size) {
                    continue;
                }
                let mut room = [0; LONGEST];
                let at = names.saturating_add(symbol.st_name.get(LE).into());
                let read = file.read_at(&mut room, at)?;
                let name = room[..read].split(|byte| *byte == 0).next();
                if let Some(Ok(name)) = name.map(str::from_utf8) {
                    found(Function {
                        name,
                        address: symbol.st_value.get(LE).wrapping_add(moved) as usize,
                        size,
                    });
                }
            }
        }
    }
    Ok(())
}

fn one<T: Pod>(file: &fs::File, at: u64) -> Result<T, ProgramError> {
    many(file, at, 1)?.pop().ok_or(ProgramError::Format)
}

/// `count` of them, which lie one behind the other.
fn many<T: Pod>(file: &fs::File, at: u64, count: usize) -> Result<Vec<T>, ProgramError> {
    let mut bytes = vec![0; count * size_of::<T>()];
    file.read_exact_at(&mut bytes, at)?;
    let (read, _) = pod::slice_from_bytes(&bytes, count).map_err(|()| ProgramError::Format)?;
    Ok(read.to_vec())
}

/// How far from the addresses in its file the program lies (modulo 2^64).
fn moved_by(file: &fs::File, header: &FileHeader64<Le>, maps: &str) -> Result<u64, ProgramError> {
    // A function of ours lies in the mapping that is sought.
    let here = mapping as fn(&str) -> _ as usize as u64;
    let (start, offset) = maps
        .lines()
        .filter_map(mapping)
        .find(|(start, end, _)| (*start..*end).contains(&here))
        .map(|(start, _, offset)| (start, offset))
        .ok_or(ProgramError::Place)?;
    let segments: Vec<ProgramHeader64<Le>> =
        many(file, header.e_phoff.get(LE), header.e_phnum.get(LE).into())?;
    let of_mapping = |segment: &&ProgramHeader64<Le>| {
        let (from, length) = (segment.p_offset.get(LE), segment.p_filesz.get(LE));
        segment.p_type.get(LE) == PT_LOAD
            && (segment.p_flags.get(LE) & PF_X).0 != 0
            && (from / PAGE * PAGE..from.saturating_add(length)).contains(&offset)
    };
    let segment = segments
        .iter()
        .find(of_mapping)
        .ok_or(ProgramError::Place)?;
    let in_file = segment
        .p_vaddr
        .get(LE)
        .wrapping_sub(segment.p_offset.get(LE));
    Ok(start.wrapping_sub(offset).wrapping_sub(in_file))
}

/// Start, end and place in the file of a line like `5581-5590 r-xp 00001000 fd:00 12 /usr/bin/airlock`.
fn mapping(line: &str) -> Option<(u64, u64, u64)> {
    let hexadecimal = |digits| u64::from_str_radix(digits, 16).ok();
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let offset = words.nth(1)?;
    Some((hexadecimal(start)?, hexadecimal(end)?, hexadecimal(offset)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_where_it_is() {
        let known = mapping as fn(&str) -> Option<(u64, u64, u64)> as usize;
        let (mut all, mut names) = (0, Vec::new());
        functions(
            |_| true,
            |f| {
                all += 1;
                if f.address == known {
                    names.push(f.name.to_owned());
                }
            },
        )
        .unwrap();
        assert!(
            names.iter().any(|name| name.contains("mapping")),
            "{names:?} at {known:x}, of {all}"
        );
    }

    #[test]
    fn a_line_of_the_map_says_where_a_file_lies() {
        let line = "55d0a000-55d0b800 r-xp 005b2000 fd:00 12 /usr/bin/airlock";
        assert_eq!(mapping(line), Some((0x55d0_a000, 0x55d0_b800, 0x5b_2000)));
        assert_eq!(mapping("nothing of the kind"), None);
    }
}
