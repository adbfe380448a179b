//! Where the functions of the running program lie: the symbols of its file, and the place the system has
//! put it at.

use std::{fs, io};

use object::{Object, ObjectSegment, ObjectSymbol, ReadCache, SymbolKind};

/// The system keeps files apart by pages.
const PAGE: u64 = 4096;

pub(super) struct Function {
    pub(super) name: String,
    /// In this process.
    pub(super) address: usize,
    /// Bytes.
    pub(super) size: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("the program's own file cannot be read: {0}")]
    File(#[from] io::Error),
    #[error("the program's own file is not understood: {0}")]
    Format(#[from] object::Error),
    #[error("the program is not where /proc/self/maps says it is")]
    Place,
}

/// The functions of this program whose size is asked for.
pub(super) fn functions(wanted: impl Fn(usize) -> bool) -> Result<Vec<Function>, ProgramError> {
    let file = ReadCache::new(fs::File::open("/proc/self/exe")?);
    let program = object::File::parse(&file)?;
    let moved = moved_by(&program, &fs::read_to_string("/proc/self/maps")?)?;
    let mut found = Vec::new();
    for symbol in program.symbols() {
        let Ok(size) = usize::try_from(symbol.size()) else {
            continue;
        };
        if symbol.kind() == SymbolKind::Text && symbol.is_definition() && wanted(size) {
            // A name of some thousand letters is not read.
            let Ok(name) = symbol.name() else {
                continue;
            };
            found.push(Function {
                name: name.to_owned(),
                address: symbol.address().wrapping_add(moved) as usize,
                size,
            });
        }
    }
    Ok(found)
}

/// How far from the addresses in its file the program lies (modulo 2^64).
fn moved_by<'d>(program: &impl Object<'d>, maps: &str) -> Result<u64, ProgramError> {
    // A function of ours lies in the mapping that is sought.
    let here = mapping as fn(&str) -> _ as usize as u64;
    let (start, offset) = maps
        .lines()
        .filter_map(mapping)
        .find(|(start, end, _)| (*start..*end).contains(&here))
        .map(|(start, _, offset)| (start, offset))
        .ok_or(ProgramError::Place)?;
    let of_mapping = |segment: &_| {
        let (from, length) = ObjectSegment::file_range(segment);
        (from / PAGE * PAGE..from.saturating_add(length)).contains(&offset)
    };
    // Two segments may share a page of the file; the code's mapping is the later one's.
    let segment = program.segments().filter(of_mapping).last();
    let segment = segment.ok_or(ProgramError::Place)?;
    let in_file = segment.address().wrapping_sub(segment.file_range().0);
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
        let all = functions(|_| true).unwrap();
        let names: Vec<&str> = all
            .iter()
            .filter(|f| f.address == known)
            .map(|f| f.name.as_str())
            .collect();
        assert!(
            names.iter().any(|name| name.contains("mapping")),
            "{names:?} at {known:x}, of {}",
            all.len()
        );
    }

    #[test]
    fn a_line_of_the_map_says_where_a_file_lies() {
        let line = "55d0a000-55d0b800 r-xp 005b2000 fd:00 12 /usr/bin/airlock";
        assert_eq!(mapping(line), Some((0x55d0_a000, 0x55d0_b800, 0x5b_2000)));
        assert_eq!(mapping("nothing of the kind"), None);
    }
}
