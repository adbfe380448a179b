//! What was probably meant: names with a slip in them, files under another name.

/// Letters of a name that are compared.
const MAX_LETTERS: usize = 96;

/// Letters and digits alone, in lower case: what is left when case, blanks and signs do not count.
pub fn spelling(text: &str) -> String {
    let plain = text.chars().filter(|c| c.is_alphanumeric());
    plain.flat_map(char::to_lowercase).collect()
}

/// The names that differ least from `name`, the nearest first; none that differs by more than a third.
pub fn names<'a>(name: &str, of: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let own: Vec<char> = letters(&spelling(name));
    let allowed = (own.len() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in of {
        let theirs = letters(&spelling(candidate));
        if own.len().abs_diff(theirs.len()) > allowed {
            continue;
        }
        let slips = slips(&own, &theirs);
        if slips <= allowed {
            found.push((slips, candidate));
        }
    }
    found.sort();
    found.into_iter().map(|(_, name)| name).take(most).collect()
}

/// The one name that was meant by `name`: spelled the same but for case and signs, or, where it is long
/// enough to tell, with up to two slips. `None` where two are as near.
pub fn the_one<'a>(name: &str, of: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let own = spelling(name);
    let mut same = of.clone().filter(|candidate| spelling(candidate) == own);
    if let Some(first) = same.next() {
        return same.next().is_none().then_some(first);
    }
    let own = letters(&own);
    let allowed = match own.len() {
        0..6 => return None,
        6..12 => 1,
        _ => 2,
    };
    let mut best: Option<(usize, &str)> = None;
    let mut tied = false;
    for candidate in of {
        let theirs = letters(&spelling(candidate));
        if own.len().abs_diff(theirs.len()) > allowed {
            continue;
        }
        let slips = slips(&own, &theirs);
        match best {
            Some((least, _)) if slips > least => {}
            Some((least, _)) if slips == least => tied = true,
            Some(_) | None if slips <= allowed => {
                best = Some((slips, candidate));
                tied = false;
            }
            Some(_) | None => {}
        }
    }
    best.filter(|_| !tied).map(|(_, name)| name)
}

/// The file that is most like `name`: the same one in another folder, else the one that shares most of
/// the words in its name. `None` where nothing is shared.
pub fn file<'a>(name: &str, of: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let own = stem(name).to_lowercase();
    let same = of.clone().find(|file| stem(file).to_lowercase() == own);
    if same.is_some() {
        return same;
    }
    let wanted = words(&own);
    let share = |file: &str| {
        let theirs = words(&stem(file).to_lowercase());
        let common = wanted.iter().filter(|word| theirs.contains(*word)).count();
        let all = wanted.len() + theirs.len() - common;
        // In thousandths, so that they can be ordered.
        (common * 1000).checked_div(all).unwrap_or(0)
    };
    let scored = of.map(|file| (share(file), file));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(share, _)| *share >= 250)
        .map(|(_, file)| file)
}

/// A path's last part without its ending.
fn stem(path: &str) -> &str {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        Some(_) | None => file,
    }
}

/// Runs of letters, and runs of digits: `sd_xl_base_1.0` is `sd xl base 1 0`.
fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut before = None;
    for c in text.chars().take(MAX_LETTERS) {
        let kind = c.is_alphanumeric().then(|| c.is_numeric());
        if let Some(word) = out.last_mut().filter(|_| kind.is_some() && kind == before) {
            word.push(c);
        } else if kind.is_some() {
            out.push(c.into());
        }
        before = kind;
    }
    out.sort();
    out.dedup();
    out
}

fn letters(text: &str) -> Vec<char> {
    text.chars().take(MAX_LETTERS).collect()
}

/// Levenshtein, one row at a time.
fn slips(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            let change = diagonal + usize::from(x != y);
            left = change.min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted_as_letters_that_change_come_or_go() {
        for (a, b, want) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
            ("ab", "", 2),
        ] {
            assert_eq!(slips(&letters(a), &letters(b)), want, "{a} {b}");
            assert_eq!(slips(&letters(b), &letters(a)), want, "{b} {a}");
        }
    }

    #[test]
    fn the_one_name_that_was_meant() {
        let of = [
            "KSampler",
            "KSamplerAdvanced",
            "VAEDecode",
            "VAEEncode",
            "euler",
            "euler_ancestral",
        ];
        for (row, typed, want) in [
            ("case", "ksampler", Some("KSampler")),
            ("a blank", "K Sampler", Some("KSampler")),
            ("signs", "Euler-Ancestral", Some("euler_ancestral")),
            (
                "a letter missing",
                "KSamplrAdvanced",
                Some("KSamplerAdvanced"),
            ),
            ("as near to two", "VAEcode", None),
            ("too short to tell", "eule", None),
            ("something else", "LoraLoader", None),
        ] {
            assert_eq!(the_one(typed, of.iter().copied()), want, "{row}");
        }
        let twice = ["Load", "load"];
        assert_eq!(the_one("LOAD", twice.iter().copied()), None);
        assert_eq!(names("KSamplr", of.iter().copied(), 1), ["KSampler"]);
    }

    #[test]
    fn the_file_that_shares_most_words() {
        let files = [
            "SD1.5/v1-5-pruned-emaonly-fp16.safetensors",
            "sd_xl_base_1.0.safetensors",
            "flux\\flux1-dev-fp8.safetensors",
        ];
        for (row, wanted, want) in [
            (
                "in another folder",
                "v1-5-pruned-emaonly-fp16.safetensors",
                Some(0),
            ),
            ("another ending", "flux1-dev-fp8.sft", Some(2)),
            ("words shared", "sdXL_base_v1.0_0.9vae.safetensors", Some(1)),
            ("another build", "v1-5-pruned-emaonly.ckpt", Some(0)),
            ("nothing shared", "hunyuan_video.safetensors", None),
        ] {
            let want = want.and_then(|at: usize| files.get(at)).copied();
            assert_eq!(file(wanted, files.iter().copied()), want, "{row}");
        }
    }
}
