//! A list of cache lines in few bytes of its own: it is as cold as what it lists, and is read first.

use prefetch_index::prefetch_index;

use super::LINE;

/// What addresses are counted from.
static HERE: [u8; 1] = [0];

/// Lines that lie one behind the other, `from` counted from the lowest of all.
struct Run {
    from: u32,
    lines: u32,
}

/// Lines to fetch, in ascending order.
pub(super) struct Runs {
    /// Address of the lowest.
    base: usize,
    runs: Box<[Run]>,
}

impl FromIterator<usize> for Runs {
    /// Of addresses of lines, ascending. Those that lie 256 GiB or more behind the first are left out.
    fn from_iter<T: IntoIterator<Item = usize>>(lines: T) -> Self {
        let mut lines = lines.into_iter().peekable();
        let base = lines.peek().copied().unwrap_or_default();
        let mut runs: Vec<Run> = Vec::new();
        for line in lines.map_while(|line| u32::try_from((line - base) / LINE).ok()) {
            match runs.last_mut() {
                Some(run) if run.from.checked_add(run.lines) == Some(line) => run.lines += 1,
                _ => runs.push(Run {
                    from: line,
                    lines: 1,
                }),
            }
        }
        Self {
            base,
            runs: runs.into(),
        }
    }
}

impl Runs {
    fn lines(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().flat_map(|run| {
            let from = self.base + run.from as usize * LINE;
            (0..run.lines as usize).map(move |n| from + n * LINE)
        })
    }

    pub(super) fn fetch(&self) {
        self.lines().for_each(fetch);
    }
}

fn fetch(address: usize) {
    prefetch_index(&HERE[..], address.wrapping_sub(HERE.as_ptr().addr()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_lines_comes_back_whole() {
        for (what, lines, runs) in [
            ("nothing", vec![], 0),
            ("one", vec![0x5555_0000_1000], 1),
            ("side by side", vec![0x1000, 0x1040, 0x1080], 1),
            ("with a gap", vec![0x1000, 0x1040, 0x10c0, 0x4000], 3),
        ] {
            let list: Runs = lines.iter().copied().collect();
            assert_eq!(list.lines().collect::<Vec<_>>(), lines, "{what}");
            assert_eq!(list.runs.len(), runs, "{what}");
        }
    }

    #[test]
    fn what_lies_too_far_is_left_out() {
        let last = LINE * u32::MAX as usize;
        let list: Runs = [0, last, last + LINE].into_iter().collect();
        assert_eq!(list.lines().collect::<Vec<_>>(), [0, last]);
    }
}
