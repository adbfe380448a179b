//! The functions of a request and which of their bytes run, as `just link-order` has counted them.
//!
//! A function is known by its name without the hashes of compiler and versions, and by its size: of a size
//! that differs the offsets would be wrong.

use std::collections::{HashMap, HashSet};

use super::{LINE, program::Function};

/// What runs, as offsets into a function: `from..to`.
type Ranges = Vec<(usize, usize)>;

/// When of a chat.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Until the LLM is asked.
    Asking,
    /// From its answer until the first token is passed on.
    Answering,
}

/// What runs of a function in the one phase, and in the other.
#[derive(Default)]
struct Row {
    asking: Ranges,
    answering: Ranges,
}

pub(super) struct Table<'a> {
    functions: HashMap<(usize, &'a str), Row>,
    sizes: HashSet<usize>,
}

pub(super) fn embedded() -> Table<'static> {
    Table::parse(include_str!("table.txt"))
}

impl<'a> Table<'a> {
    /// A row is a size, a name and ranges of the one phase and, behind a bar, of the other:
    /// `1c0 _ZN7airlock3run 0-40 80-1c0 | 0-10`, in hexadecimal digits. What does not look like one is a comment.
    fn parse(text: &'a str) -> Self {
        let functions: HashMap<_, _> = text.lines().filter_map(row).collect();
        let sizes = functions.keys().map(|(size, _)| *size).collect();
        Self { functions, sizes }
    }

    pub(super) fn has_size(&self, size: usize) -> bool {
        self.sizes.contains(&size)
    }

    /// The cache lines of what runs of it, some of them twice.
    pub(super) fn lines(&self, function: &Function<'_>, phase: Phase) -> Vec<usize> {
        let row = self.functions.get(&(function.size, plain(function.name)));
        let ranges = row.map(|row| match phase {
            Phase::Asking => &row.asking,
            Phase::Answering => &row.answering,
        });
        let mut lines = Vec::new();
        for (from, to) in ranges.into_iter().flatten() {
            let first = function.address.wrapping_add(*from) / LINE;
            let end = function.address.wrapping_add(*to).div_ceil(LINE);
            lines.extend((first..end).map(|line| line * LINE));
        }
        lines
    }
}

fn row(line: &str) -> Option<((usize, &str), Row)> {
    let hexadecimal = |digits| usize::from_str_radix(digits, 16).ok();
    let mut words = line.split_ascii_whitespace();
    let size = hexadecimal(words.next()?)?;
    let name = words.next()?;
    let mut row = Row::default();
    let mut ranges = &mut row.asking;
    for word in words {
        if word == "|" {
            ranges = &mut row.answering;
            continue;
        }
        let (from, to) = word.split_once('-')?;
        let (from, to) = (hexadecimal(from)?, hexadecimal(to)?);
        (from < to && to <= size).then(|| ranges.push((from, to)))?;
    }
    Some(((size, name), row))
}

/// A symbol's name without its hash, and without what the optimizer calls a copy.
fn plain(symbol: &str) -> &str {
    const HASH: usize = "17h0123456789abcdefE".len();
    let name = symbol.split(".llvm.").next().unwrap_or(symbol);
    match name
        .len()
        .checked_sub(HASH)
        .and_then(|at| name.split_at_checked(at))
    {
        Some((plain, hash)) if hash.starts_with("17h") && hash.ends_with('E') => plain,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, address: usize, size: usize) -> Function<'_> {
        Function {
            name,
            address,
            size,
        }
    }

    #[test]
    fn the_lines_of_what_runs_are_those_of_functions_of_that_name_and_size() {
        let table = Table::parse("# comment\nc0 _ZN1a 0-10 7f-90 | 0-20\n100 memcpy 40-41\n");
        let lines = |function: Function<'_>| table.lines(&function, Phase::Asking);
        let a = "_ZN1a17h0123456789abcdefE";
        for (what, found, wanted) in [
            (
                "a function on a line's start",
                function(a, 0x1000, 0xc0),
                vec![0x1000, 0x1040, 0x1080],
            ),
            (
                "one that begins inside a line",
                function(a, 0x1030, 0xc0),
                vec![0x1000, 0x1080],
            ),
            ("another size", function(a, 0x1000, 0xd0), vec![]),
            (
                "another name",
                function("_ZN1b17h0123456789abcdefE", 0x1000, 0xc0),
                vec![],
            ),
            (
                "a copy of the optimizer's",
                function("_ZN1a17h0123456789abcdefE.llvm.77", 0x1000, 0xc0),
                vec![0x1000, 0x1040, 0x1080],
            ),
            (
                "a name without a hash",
                function("memcpy", 0x2000, 0x100),
                vec![0x2040],
            ),
        ] {
            assert_eq!(lines(found), wanted, "{what}");
        }
        let later = |function| table.lines(&function, Phase::Answering);
        assert_eq!(
            later(function(a, 0x1000, 0xc0)),
            [0x1000],
            "the other phase"
        );
        assert_eq!(
            later(function("memcpy", 0x2000, 0x100)),
            [0; 0],
            "not in it"
        );
        assert!(table.has_size(0xc0) && !table.has_size(0xd0));
    }

    #[test]
    fn rows_that_are_none_are_left_out() {
        for line in [
            "",
            "size name",
            "10 name 0-20",
            "10 name 8-4",
            "10 name 0-4 | 8-4",
            "10 name 0",
            "10",
        ] {
            assert!(row(line).is_none(), "{line:?}");
        }
    }

    #[test]
    fn every_row_of_the_written_table_is_one() {
        let table = embedded();
        let rows = include_str!("table.txt")
            .lines()
            .filter(|l| !l.starts_with('#'));
        let rows: Vec<&str> = rows.collect();
        assert!(rows.len() > 100, "{} rows", rows.len());
        for line in &rows {
            assert!(row(line).is_some(), "{line}");
        }
        assert_eq!(table.functions.len(), rows.len(), "a function has one row");
    }
}
