//! A list of cache lines that is short and read without a branch for each: it is as cold as what it lists, is read
//! first, and what it takes is waited for.

use prefetch_index::prefetch_index;

use super::LINE;

/// What addresses are counted from.
static HERE: [u8; 1] = [0];
/// Lines between two of a list: 256 MiB, more than a program has.
const FARTHEST: usize = 64 * u16::MAX as usize;

/// Lines to fetch, in ascending order.
pub(super) struct Lines {
    /// Address of the first.
    first: usize,
    /// Lines from one to the next. Where they are farther apart than one step, it is several: what lies there
    /// between is fetched for nothing.
    steps: Box<[u16]>,
}

impl FromIterator<usize> for Lines {
    /// Of addresses of lines, ascending. Those behind the first gap of more than [`FARTHEST`] are left out.
    fn from_iter<T: IntoIterator<Item = usize>>(lines: T) -> Self {
        let mut lines = lines.into_iter().peekable();
        let first = lines.peek().copied().unwrap_or_default();
        let mut at = first;
        let mut steps = Vec::new();
        for line in lines {
            let gap = (line - at) / LINE;
            if gap > FARTHEST {
                break;
            }
            let hops = gap.saturating_sub(1) / usize::from(u16::MAX);
            steps.extend(std::iter::repeat_n(u16::MAX, hops));
            steps.push((gap - hops * usize::from(u16::MAX)) as u16);
            at = line;
        }
        Self {
            first,
            steps: steps.into(),
        }
    }
}

impl Lines {
    fn addresses(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().scan(self.first, |at, step| {
            *at = at.wrapping_add(usize::from(*step) * LINE);
            Some(*at)
        })
    }

    pub(super) fn fetch(&self) {
        self.addresses().for_each(fetch);
    }
}

fn fetch(address: usize) {
    prefetch_index(&HERE[..], address.wrapping_sub(HERE.as_ptr().addr()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(lines: &[usize]) -> Vec<usize> {
        lines
            .iter()
            .copied()
            .collect::<Lines>()
            .addresses()
            .collect()
    }

    #[test]
    fn a_list_of_lines_comes_back_whole() {
        for (what, lines) in [
            ("nothing", vec![]),
            ("one", vec![0x5555_0000_1000]),
            ("side by side", vec![0x1000, 0x1040, 0x1080]),
            ("with gaps", vec![0x1000, 0x1040, 0x10c0, 0x4000]),
            ("with the widest step", vec![0, LINE * u16::MAX as usize]),
        ] {
            assert_eq!(back(&lines), lines, "{what}");
        }
    }

    #[test]
    fn a_wide_gap_is_crossed_in_steps() {
        let step = LINE * u16::MAX as usize;
        assert_eq!(back(&[LINE, 2 * step]), [LINE, LINE + step, 2 * step]);
    }

    #[test]
    fn what_lies_too_far_is_left_out() {
        let (last, too_far) = (LINE * FARTHEST, LINE * (2 * FARTHEST + 1));
        assert_eq!(back(&[0, last]).last(), Some(&last));
        assert_eq!(
            back(&[0, last, too_far, too_far + LINE]).last(),
            Some(&last)
        );
    }
}
